//! Keeps a certificate at hand that is valid, and that the API server trusts.
//!
//! A renewal makes a new authority as well. The API server is told of the new one beside the old one first, and only
//! then is the new certificate served; the other replica follows when it looks next. So there is no moment at which a
//! certificate is served that the API server does not know.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::admissionregistration::v1::ValidatingWebhookConfiguration, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::sleep;
use tokio_rustls::rustls::ServerConfig;
use tracing::{info, warn};

use super::{
    Error, Mode, Serving,
    certificate::{self, RENEWED_BEFORE_END, issue},
};

/// Two requests to the API server each time, of each replica.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// While there is no certificate at all.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How long the API servers may take to learn of a new authority.
const HEARD: Duration = Duration::from_secs(10);
/// Files are cheap to look at, and cert-manager's renewals appear in them a minute later anyway.
const FILES_LOOK_AGAIN: Duration = Duration::from_secs(60);

const MANAGER: &str = "dragnet-operator-webhook";
/// When the certificate in the Secret ends; so that nobody has to parse it.
const ENDS: &str = "dragnet.dev/certificate-ends";
const AUTHORITIES: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Runs as long as the operator does. What fails is told, and tried again.
pub async fn keep(client: Client, mode: Mode, serving: Serving) {
    loop {
        let looked = match &mode {
            Mode::Own { namespace, secret, configuration, service } => {
                let names = Names { namespace, secret, configuration, service };
                look(&client, &names, &serving).await.map(|()| LOOK_AGAIN)
            }
            Mode::Mounted { folder } => look_at_files(folder, &serving).map(|()| FILES_LOOK_AGAIN),
        };
        let pause = looked.unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            warn!(%error, cause, "the webhook's certificate could not be looked after");
            TRY_AGAIN
        });
        sleep(pause).await;
    }
}

struct Names<'a> {
    namespace: &'a str,
    secret: &'a str,
    configuration: &'a str,
    service: &'a str,
}

async fn look(client: &Client, names: &Names<'_>, serving: &Serving) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), names.namespace);
    let read = || format!("read Secret {}", names.secret);
    let found = secrets.get_opt(names.secret).await.map_err(api(read))?;
    let kept = match found.as_ref().filter(|secret| !is_due(secret, Timestamp::now())) {
        Some(secret) => secret.clone(),
        None => renew(&secrets, names, found.as_ref()).await?,
    };
    let part = |key: &str| {
        kept.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice()).unwrap_or_default()
    };
    let place = format!("Secret {}/{}", names.namespace, names.secret);
    let config = certificate::serving(part(CERTIFICATE), part(KEY), &place)?;
    let told_now = tell(client, names, part(AUTHORITIES)).await?;
    let already_serving = serving.borrow().is_some();
    if told_now && already_serving {
        sleep(HEARD).await;
    }
    take(serving, config);
    Ok(())
}

/// Whether it is time for another certificate.
fn is_due(secret: &Secret, now: Timestamp) -> bool {
    let ends = secret
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(ENDS))
        .and_then(|text| text.parse::<Timestamp>().ok());
    let whole = [AUTHORITIES, CERTIFICATE, KEY]
        .iter()
        .all(|key| secret.data.as_ref().is_some_and(|data| data.contains_key(*key)));
    !whole || ends.is_none_or(|ends| ends - RENEWED_BEFORE_END <= now)
}

/// Of several replicas at a time one gets through; the others take what it made.
async fn renew(secrets: &Api<Secret>, names: &Names<'_>, before: Option<&Secret>) -> Result<Secret, Error> {
    let Names { namespace, secret, service, .. } = names;
    let hosts = [format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local")];
    let issued = issue(&hosts, Timestamp::now())?;
    let before_authority = before.and_then(|it| it.data.as_ref()?.get(AUTHORITIES)).map(|bytes| bytes.0.clone());
    let data = BTreeMap::from([
        (AUTHORITIES.to_owned(), ByteString(bundle(&issued.authority, before_authority.as_deref()))),
        (CERTIFICATE.to_owned(), ByteString(issued.certificate.into_bytes())),
        (KEY.to_owned(), ByteString(issued.key.into_bytes())),
    ]);
    let labels = [
        ("app.kubernetes.io/name", "dragnet"),
        ("app.kubernetes.io/part-of", "dragnet"),
        ("app.kubernetes.io/component", "operator"),
        ("app.kubernetes.io/managed-by", "dragnet-operator"),
    ];
    let metadata = ObjectMeta {
        name: Some((*secret).to_owned()),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
        annotations: Some(BTreeMap::from([(ENDS.to_owned(), issued.ends.to_string())])),
        resource_version: before.and_then(|it| it.metadata.resource_version.clone()),
        ..ObjectMeta::default()
    };
    let type_ = before.map_or(Some("kubernetes.io/tls".to_owned()), |it| it.type_.clone());
    let wanted = Secret { metadata, data: Some(data), type_, ..Secret::default() };
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let written = match before {
        None => secrets.create(&params, &wanted).await,
        Some(_) => secrets.replace(secret, &params, &wanted).await,
    };
    match written {
        Ok(secret) => {
            info!(secret = names.secret, ends = %issued.ends, "the webhook has a new certificate");
            Ok(secret)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            secrets.get(secret).await.map_err(api(|| format!("read Secret {secret}")))
        }
        Err(error) => Err(error).map_err(api(|| format!("write Secret {secret}"))),
    }
}

/// The new authority first, and the newest of those before, which is still served.
fn bundle(new: &str, before: Option<&[u8]>) -> Vec<u8> {
    const END: &str = "-----END CERTIFICATE-----";
    let before = String::from_utf8_lossy(before.unwrap_or_default());
    let newest = before.find(END).map_or("", |at| before[..at + END.len()].trim_start());
    let mut bundle = new.trim_end().to_owned();
    bundle.push('\n');
    if !newest.is_empty() {
        bundle.push_str(newest);
        bundle.push('\n');
    }
    bundle.into_bytes()
}

/// Puts the authorities into the webhook's configuration. True if they were not there.
async fn tell(client: &Client, names: &Names<'_>, authorities: &[u8]) -> Result<bool, Error> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let name = names.configuration;
    let found =
        configurations.get_opt(name).await.map_err(api(|| format!("read ValidatingWebhookConfiguration {name}")))?;
    let Some(found) = found else {
        // The chart makes it; it may come later.
        return Ok(false);
    };
    let bundle = ByteString(authorities.to_vec());
    let webhooks = found.webhooks.unwrap_or_default();
    if webhooks.iter().all(|webhook| webhook.client_config.ca_bundle.as_ref() == Some(&bundle)) {
        return Ok(false);
    }
    let told: Vec<_> = webhooks
        .iter()
        .map(|webhook| json!({ "name": webhook.name, "clientConfig": { "caBundle": bundle } }))
        .collect();
    // A strategic merge goes by the webhooks' names and leaves all else to the chart.
    let patch = json!({ "webhooks": told });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = configurations.patch(name, &params, &Patch::Strategic(patch)).await;
    patched.map_err(api(|| format!("tell ValidatingWebhookConfiguration {name} the authority")))?;
    info!(configuration = name, "the API server was told which authority signed the webhook's certificate");
    Ok(true)
}

fn look_at_files(folder: &Path, serving: &Serving) -> Result<(), Error> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).map_err(|source| Error::Read { path, source })
    };
    let (certificate, key) = (read(CERTIFICATE)?, read(KEY)?);
    let config = certificate::serving(&certificate, &key, &folder.display().to_string())?;
    take(serving, config);
    Ok(())
}

fn take(serving: &Serving, config: Arc<ServerConfig>) {
    // Connections that are open keep what they began with.
    serving.send_replace(Some(config));
}

fn api(what: impl Fn() -> String) -> impl Fn(kube::Error) -> Error {
    move |source| Error::Api { what: what(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(ends: Option<&str>, keys: &[&str]) -> Secret {
        let annotations = ends.map(|ends| BTreeMap::from([(ENDS.to_owned(), ends.to_owned())]));
        let data = keys.iter().map(|key| ((*key).to_owned(), ByteString(Vec::new()))).collect();
        let metadata = ObjectMeta { annotations, ..ObjectMeta::default() };
        Secret { metadata, data: Some(data), ..Secret::default() }
    }

    #[test]
    fn a_certificate_is_renewed_a_month_before_its_end() {
        let now: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let all = [AUTHORITIES, CERTIFICATE, KEY];
        assert!(!is_due(&secret(Some("2027-02-15T00:00:00Z"), &all), now));
        assert!(is_due(&secret(Some("2027-01-30T00:00:00Z"), &all), now));
        assert!(is_due(&secret(Some("soon"), &all), now));
        assert!(is_due(&secret(None, &all), now));
        assert!(is_due(&secret(Some("2027-02-15T00:00:00Z"), &all[..2]), now), "a part is missing");
    }

    #[test]
    fn the_authority_before_stays_trusted_and_older_ones_do_not() {
        let pem = |name: &str| format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n");
        let first = bundle(&pem("one"), None);
        assert_eq!(String::from_utf8(first.clone()).unwrap(), pem("one"));
        let second = bundle(&pem("two"), Some(&first));
        assert_eq!(String::from_utf8(second.clone()).unwrap(), pem("two") + &pem("one"));
        let third = bundle(&pem("three"), Some(&second));
        assert_eq!(String::from_utf8(third).unwrap(), pem("three") + &pem("two"));
    }

    #[tokio::test]
    async fn files_are_read_again() {
        let folder = std::env::temp_dir().join(format!("dragnet-webhook-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let serving = Serving::new(None);
        assert!(look_at_files(&folder, &serving).is_err() && serving.borrow().is_none());
        let issued = issue(&["x".to_owned()], Timestamp::now()).unwrap();
        fs::write(folder.join(CERTIFICATE), &issued.certificate).unwrap();
        fs::write(folder.join(KEY), &issued.key).unwrap();
        look_at_files(&folder, &serving).unwrap();
        assert!(serving.borrow().is_some());
        fs::remove_dir_all(&folder).unwrap();
    }
}
