//! `crds [--check] FOLDER`: writes the custom resource definitions there, or says which of them are not current.

use std::{env, fs, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let (flags, folders): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let check = match flags.as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _others => return wrong_usage(),
    };
    let [folder] = folders.as_slice() else { return wrong_usage() };
    match run(&PathBuf::from(folder), check) {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            for path in stale {
                println!("{} is not what crates/crd says; run `cargo xtask fix`", path.display());
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("crds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wrong_usage() -> ExitCode {
    eprintln!("usage: crds [--check] FOLDER");
    ExitCode::from(64)
}

/// Returns the files that are not current; none after writing.
fn run(folder: &PathBuf, check: bool) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    if !check {
        fs::create_dir_all(folder)?;
    }
    let mut stale = Vec::new();
    let mut expected = Vec::new();
    for crd in crd::crds() {
        let path = folder.join(format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural));
        let text = crd::yaml(&crd)?;
        if check && fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            stale.push(path.clone());
        }
        if !check {
            fs::write(&path, text)?;
        }
        expected.push(path);
    }
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") && !expected.contains(&path) {
            if check {
                stale.push(path);
            } else {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(stale)
}
