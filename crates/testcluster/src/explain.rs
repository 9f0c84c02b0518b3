//! What went on in a namespace, as text for whoever reads a failure.

use std::fmt::Write as _;

use serde_json::Value;

use crate::Kubectl;

/// Of each container's log, before and after a restart.
const LINES: &str = "--tail=150";

impl Kubectl {
    /// Our resources, pods, Events and logs. What cannot be had is named instead: a report about a broken cluster must not fail on it.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut report = String::new();
        let looks: [&[&str]; 4] = [
            &["get", "orchestrators,scanworkers,batchdatasets,corpora,yararulesets", "--output", "yaml"],
            &[
                "get",
                "statefulsets,deployments,jobs,pods,services,persistentvolumeclaims,poddisruptionbudgets",
                "--output",
                "wide",
            ],
            &["get", "events", "--sort-by", ".lastTimestamp"],
            &["describe", "pods"],
        ];
        for look in looks {
            section(&mut report, &format!("kubectl {}", look.join(" ")), self.run(look));
        }
        for pod in self.list("pods", None).unwrap_or_default() {
            for (name, container, restarts) in containers(&pod) {
                section(
                    &mut report,
                    &format!("log of {name}/{container}"),
                    self.run(&["logs", &name, "-c", &container, LINES]),
                );
                if restarts > 0 {
                    let log = self.run(&["logs", &name, "-c", &container, LINES, "--previous"]);
                    section(&mut report, &format!("log of {name}/{container} before its restart"), log);
                }
            }
        }
        report
    }
}

fn section(report: &mut String, title: &str, text: anyhow::Result<String>) {
    let text = text.unwrap_or_else(|error| format!("{error:#}"));
    let _always_fits = writeln!(report, "--- {title}\n{}", text.trim_end());
}

/// Pod, container, and how often it was started anew.
fn containers(pod: &Value) -> Vec<(String, String, u64)> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let all = ["initContainerStatuses", "containerStatuses"].iter().filter_map(|field| pod["status"][field].as_array());
    all.flatten()
        .map(|status| {
            let container = status["name"].as_str().unwrap_or_default().to_owned();
            (name.to_owned(), container, status["restartCount"].as_u64().unwrap_or_default())
        })
        .collect()
}
