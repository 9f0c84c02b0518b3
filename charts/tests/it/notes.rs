//! What a user reads after installing says what to do next, and only commands that work.

use std::fs;

use charts::Helm;

#[test]
fn missing_kinds_are_the_first_thing_said() {
    let Some(helm) = Helm::or_skip("missing_kinds_are_the_first_thing_said") else { return };
    let notes = helm.notes("dragnet", &[]).unwrap();
    let first = notes.find("FIRST: the kinds").unwrap();
    assert!(first < notes.find("1. Wait until").unwrap(), "{notes}");
    assert!(notes.contains("helm install dragnet-crds charts/dragnet-crds"), "{notes}");
}

#[test]
fn what_is_switched_off_is_said() {
    let Some(helm) = Helm::or_skip("what_is_switched_off_is_said") else { return };
    let notes = helm.notes("dragnet", &[r#"webhook={"enabled":false}"#, r#"watchNamespaces=["red","blue"]"#]).unwrap();
    assert!(notes.contains("The webhook is off"), "{notes}");
    assert!(notes.contains("these namespaces alone: red, blue"), "{notes}");
    assert!(!helm.notes("dragnet", &[]).unwrap().contains("The webhook is off"));
}

#[test]
fn the_paths_and_names_in_it_exist() {
    let Some(helm) = Helm::or_skip("the_paths_and_names_in_it_exist") else { return };
    let notes = helm.notes("dragnet", &[]).unwrap();
    let root = helm.place().repository();
    let paths = notes
        .split([' ', '\n', ':', ';'])
        .filter(|word| ["charts/", "examples/", "docs/"].iter().any(|start| word.starts_with(start)));
    let mut seen = 0;
    for path in paths {
        assert!(root.join(path).exists(), "{path} is not in the repository");
        seen += 1;
    }
    assert!(seen >= 3, "{notes}");
    let namespace = fs::read_to_string(root.join("examples/quickstart/00-namespace.yaml")).unwrap();
    assert!(namespace.contains("name: dragnet-quickstart") && notes.contains("--namespace dragnet-quickstart"));
}
