//! KV.VERSION and KV.DATASETS: which version answers here, and how the next one is doing.

use resp::{Reply, Request};

use super::{Flow, executor::Context};

/// The served version of a dataset, of the only one if none is named; null while there is none.
pub(super) fn version(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let specs = context.shared.catalog.specs();
    let index = match (request.len(), request.get(1)) {
        (1, _) if specs.len() == 1 => Some(0),
        (1, _) => return context.error("ERR several datasets are served: name one"),
        (2, Some(name)) => specs.iter().position(|spec| spec.name.as_bytes() == name),
        _more => return context.error("ERR wrong number of arguments for 'kv.version' command"),
    };
    let Some(index) = index else { return context.error("ERR no such dataset") };
    let version = context.serving.slots().get(index).and_then(|slot| slot.current.as_ref()).map(|it| it.label());
    match version {
        Some(version) => context.reply().bulk(version.as_bytes()),
        None => context.reply().null(),
    }
    Flow::Done
}

/// One map a dataset, with what is told about it at `GET /datasets`.
pub(super) fn datasets(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    // A switch under way holds what is asked for while it writes to the disk.
    if !context.may_wait {
        return Flow::NeedsDisk;
    }
    let states = (context.shared.datasets)();
    let mut reply = context.reply();
    match states {
        serde_json::Value::Array(states) => {
            reply.array(states.len());
            states.iter().for_each(|state| tell(&mut reply, state));
        }
        other => tell(&mut reply, &other),
    }
    Flow::Done
}

/// JSON as replies. What has no reply of its own kind is told as text.
fn tell(reply: &mut Reply<'_>, value: &serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Null => reply.null(),
        Value::Bool(value) => reply.boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => reply.integer(integer),
            None => reply.bulk(number.to_string().as_bytes()),
        },
        Value::String(text) => reply.bulk(text.as_bytes()),
        Value::Array(values) => {
            reply.array(values.len());
            values.iter().for_each(|value| tell(reply, value));
        }
        Value::Object(fields) => {
            reply.map(fields.len());
            for (name, value) in fields {
                reply.bulk(name.as_bytes());
                tell(reply, value);
            }
        }
    }
}
