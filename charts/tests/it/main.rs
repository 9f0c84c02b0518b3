//! Charts as helm renders them, and everything that must agree with them.
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod golden;
mod links;
mod monitoring;
mod notes;
mod permissions;
mod pods;
mod policies;
mod quickstart;
mod server;
mod validation;
mod values;
mod webhook;

/// Values with which the charts are rendered: what each is for, chart, values.
pub(crate) const SETS: &[(&str, &str, &[&str])] = &[
    ("default", "dragnet", &[]),
    (
        "everything",
        "dragnet",
        &[
            r#"image={"registry":"registry.example.com/team","repository":"dragnet","tag":"1.2.3","digest":"","pullPolicy":"Always"}"#,
            r#"imagePullSecrets=[{"name":"pull-a"},{"name":"pull-b"}]"#,
            r#"operandImage="registry.example.com/team/dragnet:1.2.2""#,
            r#"tracing={"endpoint":"http://collector.monitoring:4317"}"#,
            r#"podMonitor={"enabled":true,"labels":{"release":"prometheus"},"interval":"15s"}"#,
            r#"prometheusRule={"enabled":true,"labels":{"release":"prometheus"},"alertLabels":{"team":"security"},"disabled":["DragnetOperatorDown"],"runbookUrl":"https://example.com/runbooks/"}"#,
            r#"dashboard={"enabled":true,"annotations":{"grafana_folder":"Security"}}"#,
            r#"commonLabels={"team":"security"}"#,
            r#"commonAnnotations={"owner":"security@example.com"}"#,
            r#"podLabels={"pod":"yes"}"#,
            r#"podAnnotations={"note":"seen"}"#,
            r#"serviceAccount={"create":true,"name":"the-operator","annotations":{"role":"arn:aws:iam::1:role/x"}}"#,
            r#"nodeSelector={"kubernetes.io/os":"linux"}"#,
            r#"tolerations=[{"key":"dedicated","operator":"Exists"}]"#,
            r#"affinity={"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"Exists"}]}]}}}"#,
            r#"topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"topology.kubernetes.io/zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"a":"b"}}}]"#,
            r#"priorityClassName="system-cluster-critical""#,
            r#"extraEnv=[{"name":"RUST_BACKTRACE","value":"1"}]"#,
            r#"extraArgs=["--verbose"]"#,
            r#"extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-more"},"data":{"a":"b"}}]"#,
            r#"networkPolicy={"apiServer":{"cidrs":["10.0.0.1/32"],"ports":[6443]},"operandNamespaces":["hunting"],"objectStorage":{"cidrs":["10.1.0.0/16"],"ports":[9000]},"extraEgress":[{"ports":[{"port":4317,"protocol":"TCP"}]}]}"#,
        ],
    ),
    (
        "scoped",
        "dragnet",
        &[
            r#"watchNamespaces=["red","blue"]"#,
            r#"webhook={"certificate":"certManager","failurePolicy":"Fail"}"#,
            r#"image={"repository":"dragnet","digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
            "replicas=1",
        ],
    ),
    (
        "bare",
        "dragnet",
        &[
            r#"webhook={"enabled":false}"#,
            r#"rbac={"create":false,"aggregate":false}"#,
            r#"serviceAccount={"create":false,"name":"given"}"#,
            r#"networkPolicy={"enabled":false}"#,
            r#"podDisruptionBudget={"enabled":false}"#,
            r#"fullnameOverride="hunter""#,
        ],
    ),
    (
        "issuer",
        "dragnet",
        &[
            r#"webhook={"certificate":"certManager","certManager":{"issuerRef":{"name":"corporate","kind":"ClusterIssuer","group":"cert-manager.io"}}}"#,
        ],
    ),
];
