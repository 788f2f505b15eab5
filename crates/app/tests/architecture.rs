//! docs/ARCHITECTURE.md says which crate depends on which, and Cargo says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

const DOCUMENT: &str = include_str!("../../../docs/ARCHITECTURE.md");
const HEADER: &str = "| crate | holds | depends on | must not know |";

type Names = BTreeSet<String>;

/// What the document says of a crate.
#[derive(Debug)]
struct Row {
    depends_on: Names,
    must_not_know: Names,
}

/// The table of the document, by crate.
fn table() -> BTreeMap<String, Row> {
    let rows = DOCUMENT.lines().skip_while(|line| *line != HEADER).skip(2).take_while(|line| line.starts_with('|'));
    let mut table = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [name, _, depends_on, must_not_know] = cells[..] else { panic!("a row of four cells: {row}") };
        let name = Vec::from_iter(quoted(name)).join(" ");
        let row = Row { depends_on: quoted(depends_on).collect(), must_not_know: quoted(must_not_know).collect() };
        assert!(table.insert(name.clone(), row).is_none(), "{name} stands in the table once");
    }
    table
}

/// The names in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The crates of the workspace, by name.
fn crates() -> BTreeMap<String, Package> {
    let mut command = MetadataCommand::new();
    command.manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")).no_deps();
    let packages = command.exec().expect("cargo metadata").packages;
    packages.into_iter().map(|package| (package.name.to_string(), package)).collect()
}

/// What a crate needs to be built and to run, optional or not; what only its tests need does not count.
fn dependencies(package: &Package) -> Names {
    let built_with = |kind| matches!(kind, DependencyKind::Normal | DependencyKind::Build);
    let dependencies = package.dependencies.iter().filter(|dependency| built_with(dependency.kind));
    dependencies.map(|dependency| dependency.name.clone()).collect()
}

#[test]
fn the_table_names_every_crate_of_the_workspace_and_no_other() {
    let (documented, real): (Names, Names) = (table().into_keys().collect(), crates().into_keys().collect());
    assert_eq!(documented, real);
}

#[test]
fn the_crates_depend_on_each_other_as_the_table_says() {
    let (table, crates) = (table(), crates());
    for (name, package) in &crates {
        let real: Names = dependencies(package).into_iter().filter(|name| crates.contains_key(name)).collect();
        assert_eq!(table[name].depends_on, real, "{name} depends on");
    }
}

#[test]
fn no_crate_knows_what_the_table_forbids() {
    let crates = crates();
    for (name, row) in table() {
        let known: Names = row.must_not_know.intersection(&dependencies(&crates[&name])).cloned().collect();
        assert!(known.is_empty(), "{name} must not know {known:?}");
    }
}

#[test]
fn what_is_forbidden_to_one_crate_is_used_by_another() {
    let used: Names = crates().values().flat_map(dependencies).collect();
    let forbidden: Names = table().into_values().flat_map(|row| row.must_not_know).collect();
    let misspelt: Names = forbidden.difference(&used).cloned().collect();
    assert!(misspelt.is_empty(), "nobody uses {misspelt:?}");
}

#[test]
fn the_rules_that_matter_most_are_in_the_table() {
    let table = table();
    for (name, forbidden) in [
        ("domain", ["actix-web", "anyhow", "diesel", "r2d2", "reqwest", "serde", "slog", "tokio"].as_slice()),
        ("ports", &["actix-web", "anyhow", "diesel", "r2d2", "reqwest", "slog", "tokio"]),
        ("usecases", &["actix-web", "anyhow", "diesel", "r2d2", "reqwest", "slog"]),
        ("adapters-http", &["anyhow", "diesel", "r2d2"]),
        ("adapters-diesel", &["actix-web", "anyhow"]),
        ("adapters-postgres", &["actix-web", "anyhow"]),
        ("adapters-sqlite", &["actix-web", "anyhow"]),
        ("app", &["diesel", "r2d2"]),
    ] {
        for forbidden in forbidden {
            assert!(table[name].must_not_know.contains(*forbidden), "{name} must not know {forbidden}");
        }
    }
}

/// The modules of a crate by their path (`wire`, `routes::webhook`, …), each with the modules that its file imports by
/// a path that begins with `crate::`.
fn imports(source: &Path) -> BTreeMap<String, Names> {
    let mut files = vec![source.to_owned()];
    let mut texts = BTreeMap::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = path.strip_prefix(source).expect("a file of the crate").with_extension("");
            let module = module.to_str().expect("a name").replace('/', "::");
            let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
            texts.insert(module, fs::read_to_string(path).expect("a source"));
        }
    }
    let modules: Names = texts.keys().cloned().collect();
    let target = |path: &str| {
        let words: Vec<_> = path.split("::").collect();
        (1..=words.len()).rev().map(|count| words[..count].join("::")).find(|module| modules.contains(module))
    };
    let of_text = |text: &str| {
        let paths = text.split("crate::").skip(1);
        paths
            .filter_map(|rest| target(rest.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c)).next()?))
            .collect()
    };
    texts.iter().map(|(module, text)| (module.clone(), of_text(text))).collect()
}

/// A circle among these imports, if there is one.
fn circle(imports: &BTreeMap<String, Names>) -> Option<Vec<String>> {
    let mut left = imports.clone();
    loop {
        let leaves: Names = left
            .iter()
            .filter(|(name, used)| used.iter().all(|it| it == *name || !left.contains_key(it)))
            .map(|(name, _)| name.clone())
            .collect();
        if leaves.is_empty() {
            return (!left.is_empty()).then(|| left.into_keys().collect());
        }
        left.retain(|name, _| !leaves.contains(name));
    }
}

#[test]
fn files_of_a_crate_do_not_import_each_other_in_a_circle() {
    let circle_in = |(name, package): (String, Package)| {
        let manifest = Path::new(package.manifest_path.as_str());
        let mut imports = imports(&manifest.with_file_name("src"));
        // They gather what the others are.
        imports.retain(|module, _| module != "lib" && module != "main");
        circle(&imports).map(|modules| (name, modules))
    };
    assert_eq!(crates().into_iter().filter_map(circle_in).collect::<Vec<_>>(), []);
}

#[test]
fn a_circle_is_found() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Names>();
    let imports =
        |pairs: &[(&str, &[&str])]| pairs.iter().map(|(name, used)| ((*name).to_owned(), names(used))).collect();
    assert_eq!(circle(&imports(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = circle(&imports(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])])).expect("a circle");
    assert!(found.contains(&"b".to_owned()) && found.contains(&"c".to_owned()), "{found:?}");
}
