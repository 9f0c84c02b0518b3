//! Everything that is rendered or shown as an example fits the API's own schemas.

use std::fs;

use charts::{Helm, Schemas, files_below};
use testcluster::Place;

use crate::SETS;

#[test]
fn every_rendered_object_fits_its_schema() {
    let test = "every_rendered_object_fits_its_schema";
    let (Some(helm), Some(schemas)) = (Helm::or_skip(test), Schemas::or_skip(test)) else { return };
    for (set, chart, values) in SETS {
        schemas.validate(&helm.render(chart, values).unwrap()).unwrap_or_else(|error| panic!("{set}: {error:#}"));
    }
    schemas.validate(&helm.render("dragnet-crds", &[]).unwrap()).unwrap();
}

#[test]
fn every_example_fits_its_schema() {
    let Some(schemas) = Schemas::or_skip("every_example_fits_its_schema") else { return };
    let examples = Place::find().unwrap().repository().join("examples/quickstart");
    for file in files_below(&examples, "yaml").unwrap() {
        schemas
            .validate(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
    }
}

#[test]
fn what_the_api_does_not_know_is_found() {
    let Some(schemas) = Schemas::or_skip("what_the_api_does_not_know_is_found") else { return };
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: [{port: 80, targetPort: http}]\n";
    schemas.validate(service).unwrap();
    for (broken, what) in [
        (service.replace("targetPort", "targetport"), "a field with a typing mistake"),
        (service.replace("80", "eighty"), "a word for a number"),
        (service.replace("kind: Service", "kind: Servant"), "a kind that is none"),
    ] {
        assert!(schemas.validate(&broken).is_err(), "{what}: {broken}");
    }
}
