use super::*;
use crate::dataset::topology::topology;

fn settings() -> Settings {
    Settings {
        image: "dragnet:1".to_owned(),
        image_pull_policy: None,
        image_pull_secrets: Vec::new(),
        namespaces: Vec::new(),
        upgrades_at_a_time: 1,
        tracing_endpoint: None,
    }
}

fn dataset() -> BatchDataset {
    let spec = serde_json::json!({
        "versions": {"url": "s3://facts/packages", "endpoint": "http://s3:7070", "allowHttp": true, "credentialsSecret": {"name": "keys"}},
        "source": {"storage": {"url": "s3://in/rows.csv"}, "format": "csv", "key": "sha256", "value": "package", "prefix": "p:"},
        "shards": 3,
        "build": {"resources": {"limits": {"memory": "1Gi"}}},
    });
    let mut dataset = BatchDataset::new("packages", serde_json::from_value(spec).unwrap());
    dataset.metadata.namespace = Some("team".to_owned());
    dataset
}

fn args(container: &Container) -> String {
    container.args.as_ref().unwrap().join(" ")
}

#[test]
fn servers_hold_the_part_of_their_number_and_switch_when_told() {
    let set = stateful_set(&settings(), &dataset()).spec.unwrap();
    assert_eq!(set.replicas, Some(6));
    let pod = set.template.spec.unwrap();
    assert_eq!(
        args(&pod.containers[0]),
        "--dataset=s3://facts/packages,name=packages,prefix=p: --data-dir=/data --listen=0.0.0.0:6379 \
         --admin-listen=0.0.0.0:9121 --admin-token-file=/etc/dragnet/admin/token --switch=when-told --keep=1 \
         --shards=part:$(POD_INDEX)/3 --cluster-node=name:$(POD_NAME) --cluster-topology=/etc/dragnet/topology/topology.json"
    );
    let mut whole = dataset();
    whole.spec.shards = 1;
    let pod = stateful_set(&settings(), &whole).spec.unwrap().template.spec.unwrap();
    assert!(!args(&pod.containers[0]).contains("--cluster"), "one part needs no topology");
}

#[test]
fn a_build_has_one_pod_for_each_shard_and_its_own_way_to_the_rows() {
    let dataset = dataset();
    let source = dataset.spec.source.clone().unwrap();
    let job = build_job(&settings(), &dataset, &source, "0123456789");
    assert_eq!(job.metadata.name.as_deref(), Some("packages-build-0123456789"));
    let spec = job.spec.unwrap();
    assert_eq!((spec.completions, spec.completion_mode.as_deref()), (Some(3), Some("Indexed")));
    assert_eq!((spec.backoff_limit, spec.backoff_limit_per_index), (None, Some(3)));
    let pod = spec.template.spec.unwrap();
    assert_eq!(args(&pod.init_containers.unwrap()[0]), "dataset fetch s3://in/rows.csv --to=/scratch/source");
    assert_eq!(
        args(&pod.containers[0]),
        "--json dataset build --to=s3://facts/packages --name=packages --format=csv --key=sha256 --shards=3 \
         --on-duplicate=error --build-id=0123456789 --report=/dev/termination-log --value=package --prefix=p: \
         --from=/scratch/source --part=$(JOB_COMPLETION_INDEX) --temp-dir=/scratch --memory=512MiB"
    );
    let finish = finish_job(&settings(), &dataset, &source, "0123456789").spec.unwrap();
    assert!(args(&finish.template.spec.unwrap().containers[0]).ends_with("--prefix=p: --finish"));
}

#[test]
fn every_pod_is_restricted() {
    let dataset = dataset();
    let source = dataset.spec.source.clone().unwrap();
    let templates = [
        stateful_set(&settings(), &dataset).spec.unwrap().template,
        build_job(&settings(), &dataset, &source, "a").spec.unwrap().template,
        finish_job(&settings(), &dataset, &source, "a").spec.unwrap().template,
    ];
    for template in templates {
        let pod = template.spec.unwrap();
        assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
        for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
            let context = container.security_context.as_ref().unwrap();
            assert_eq!(context.allow_privilege_escalation, Some(false), "{}", container.name);
            assert_eq!(context.read_only_root_filesystem, Some(true), "{}", container.name);
        }
    }
}

#[test]
fn what_versions_are_built_from_names_the_build() {
    let mut dataset = dataset();
    let source = dataset.spec.source.clone().unwrap();
    let input = names::build_input(&dataset, &source);
    assert_eq!(names::build_input(&dataset, &source), input);
    let mut other = source.clone();
    other.revision = Some("2".to_owned());
    assert_ne!(names::build_input(&dataset, &other), input);
    dataset.spec.replicas = 7;
    assert_eq!(names::build_input(&dataset, &source), input, "how many servers there are is nothing to a build");
}

#[test]
fn a_topology_is_told_as_a_file() {
    let topology = topology(("team", "packages"), 3, 2, |_| true, None, 0);
    let map = topology_map(&dataset(), topology.as_ref());
    let json: Topology = serde_json::from_str(&map.data.unwrap()[TOPOLOGY_FILE]).unwrap();
    assert_eq!(Some(json), topology);
    assert_eq!(topology_map(&dataset(), None).data.unwrap().len(), 0);
}

#[test]
fn servers_say_what_they_were_made_from() {
    let made = |image: &str, dataset: &BatchDataset| {
        let settings = Settings { image: image.to_owned(), ..settings() };
        stateful_set(&settings, dataset).metadata.annotations.unwrap()
    };
    let differ = |other: &BTreeMap<String, String>| {
        let before = made("dragnet:1", &dataset());
        before.into_iter().filter(|(key, value)| other.get(key) != Some(value)).map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(differ(&made("dragnet:2", &dataset())), ["dragnet.dev/template"], "another operator, and nobody asked");
    let mut asked = dataset();
    asked.spec.keep = 5;
    asked.metadata.generation = Some(2);
    let all = ["dragnet.dev/generation", "dragnet.dev/requested", "dragnet.dev/template"];
    assert_eq!(differ(&made("dragnet:1", &asked)), all);
}
