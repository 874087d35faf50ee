//! The rules of the house, read from `ARCHITECTURE.md` and checked against the source; what every recipe
//! that ships must say.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

mod recipes;

const MAX_LINES: usize = 600;
/// Modules that every module may use; their own row in the table allows them nothing.
const FREE: [&str; 2] = ["error", "rng"];
const NO_FILES: [&str; 5] = ["longtail", "contrast", "sim", "report", "augment"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `folder` (relative to the root) with this ending, sorted; none if the folder is not there.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            if !name.ends_with("__pycache__") {
                found.extend(files(&name, ending));
            }
        } else if name.ends_with(ending) {
            found.push(PathBuf::from(name));
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The source without comments and without the insides of strings.
fn code_only(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string_hashes(rest, &out) {
            let open = hashes + 2;
            let close = format!("\"{}", "#".repeat(hashes));
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if first == '"' {
            end_of_string(rest)
        } else if let Some(length) = ["'\"'", "'\\\"'", "'\\''", "'\\\\'"]
            .iter()
            .find_map(|c| rest.starts_with(c).then_some(c.len()))
        {
            length
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[skipped..];
    }
    out
}

fn raw_string_hashes(rest: &str, before: &str) -> Option<usize> {
    let starts_word = !before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_');
    let tail = rest.strip_prefix('r').filter(|_| starts_word)?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    tail[hashes..].starts_with('"').then_some(hashes)
}

fn end_of_string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// The first names after `crate::`, `rescom::` or a chain of `super::`, groups in braces included.
fn names_from_the_root(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in ["crate", "rescom", "super"] {
        for (at, _) in code.match_indices(start) {
            let starts_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let Some(mut tail) =
                code[at + start.len()..].trim_start().strip_prefix("::").filter(|_| starts_word)
            else {
                continue;
            };
            while let Some(next) = tail
                .trim_start()
                .strip_prefix("super")
                .and_then(|t| t.trim_start().strip_prefix("::"))
            {
                tail = next;
            }
            match tail.trim_start().strip_prefix('{') {
                None => drop(found.insert(identifier(tail).to_string())),
                Some(group) => found.extend(first_names_in_group(group)),
            }
        }
    }
    found
}

fn first_names_in_group(group: &str) -> Vec<String> {
    let mut names = vec![identifier(group).to_string()];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(identifier(&group[at + 1..]).to_string()),
            _ => {}
        }
    }
    names
}

struct Row {
    may_use: BTreeSet<String>,
    never: String,
}

/// The table of modules in `ARCHITECTURE.md`, by module name.
fn table() -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in read(Path::new("ARCHITECTURE.md")).lines().filter(|l| l.starts_with("| `src/")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells.len(),
            4,
            "ARCHITECTURE.md: a row of the module table has four cells: {line}"
        );
        let module = cells[0]
            .trim_matches('`')
            .trim_start_matches("src/")
            .trim_end_matches('/')
            .trim_end_matches(".rs");
        // What is in backquotes; words beside it explain.
        let may_use = cells[2].split('`').skip(1).step_by(2).map(str::to_string).collect();
        let never = cells[3].to_string();
        assert!(
            rows.insert(module.to_string(), Row { may_use, never }).is_none(),
            "two rows for {module}"
        );
    }
    assert!(!rows.is_empty(), "ARCHITECTURE.md has no module table");
    rows
}

/// The top-level module that a file of `src/` belongs to; `None` for `lib.rs`.
fn module_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix("src").unwrap().to_str().unwrap();
    let module = inside.split('/').next().unwrap().trim_end_matches(".rs");
    (module != "lib").then(|| module.to_string())
}

/// Code of a library file up to its unit tests.
fn library_code(path: &Path) -> String {
    if path.ends_with("tests.rs") {
        return String::new();
    }
    let code = code_only(&read(path));
    code.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_string()
}

#[test]
fn every_module_has_a_row_and_says_what_it_never_does() {
    let table = table();
    let text = read(Path::new("ARCHITECTURE.md"));
    for path in files("src", ".rs") {
        let Some(module) = module_of(&path) else { continue };
        let row = table
            .get(&module)
            .unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for the module `{module}`"));
        assert!(
            row.never.starts_with("Never "),
            "the row of `{module}` does not say what it never does"
        );
        if path.ends_with("tests.rs") {
            continue; // unit tests beside a long file need no entry
        }
        for folder in path.ancestors().skip(1).filter(|f| f.components().count() > 1) {
            let named = format!("`{}/`", folder.display());
            assert!(text.contains(&named), "ARCHITECTURE.md does not name {named}");
        }
    }
    for folder in
        ["analysis", "experiments", "tests", "examples", "benches", "reports", "assets", "scripts"]
    {
        assert!(
            text.contains(&format!("| `{folder}/` |")),
            "ARCHITECTURE.md does not say what {folder}/ is for"
        );
    }
}

#[test]
fn the_table_allows_no_way_back() {
    let table = table();
    for (module, row) in &table {
        let mut reached: BTreeSet<&String> = BTreeSet::new();
        let mut open: Vec<&String> = row.may_use.iter().collect();
        while let Some(next) = open.pop() {
            assert_ne!(next, module, "ARCHITECTURE.md lets `{module}` use itself in a circle");
            let row = table
                .get(next)
                .unwrap_or_else(|| panic!("`{module}` may use `{next}`, which has no row"));
            if reached.insert(next) {
                open.extend(&row.may_use);
            }
        }
    }
}

#[test]
fn modules_use_only_what_their_row_allows() {
    let table = table();
    let mut wrong = Vec::new();
    for path in files("src", ".rs") {
        let Some(module) = module_of(&path) else { continue };
        let Some(row) = table.get(&module) else { continue };
        for name in names_from_the_root(&code_only(&read(&path))) {
            let own = name == module
                || root().join("src").join(&module).join(format!("{name}.rs")).exists();
            let free = own || FREE.contains(&name.as_str()) || !table.contains_key(&name);
            if !free && !row.may_use.contains(&name) {
                wrong.push(format!("{}: `{module}` uses `{name}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not allowed by its row in ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn files_of_the_programs_use_each_other_in_one_direction() {
    for folder in ["analysis", "experiments"] {
        let uses: BTreeMap<String, BTreeSet<String>> = files(folder, ".rs")
            .iter()
            .map(|path| {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                // The library has modules of the same names.
                let code = code_only(&read(path)).replace("rescom::", "library::");
                (name, names_from_the_root(&code))
            })
            .collect();
        for start in uses.keys() {
            let mut reached: BTreeSet<&String> = BTreeSet::new();
            let mut open: Vec<&String> = uses[start].iter().collect();
            while let Some(next) = open.pop() {
                assert_ne!(next, start, "{folder}/{start}.rs uses itself in a circle");
                if let Some(further) = uses.get(next).filter(|_| reached.insert(next)) {
                    open.extend(further);
                }
            }
        }
    }
}

#[test]
fn pure_modules_touch_no_file_clock_or_environment() {
    let forbidden = [
        "std::fs",
        "std::env",
        "std::time",
        "std::net",
        "std::process",
        "SystemTime",
        "Instant::now",
        "File::open",
        "env::var",
    ];
    for module in NO_FILES {
        for path in files(&format!("src/{module}"), ".rs") {
            let code = library_code(&path);
            // `use std::{fs, io}` is the same thing in other words.
            let grouped: Vec<String> = code
                .match_indices("std::{")
                .flat_map(|(at, m)| first_names_in_group(&code[at + m.len()..]))
                .collect();
            for word in forbidden {
                let as_group =
                    word.strip_prefix("std::").is_some_and(|w| grouped.iter().any(|g| g == w));
                assert!(
                    !as_group && !code.contains(word),
                    "{}: `{module}` must not use {word}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_library_neither_prints_nor_parses_arguments() {
    for path in files("src", ".rs") {
        let code = library_code(&path);
        for word in ["println!", "eprintln!", "print!(", "eprint!(", "clap::"] {
            assert!(!code.contains(word), "{}: {word} belongs into the programs", path.display());
        }
    }
}

#[test]
fn nothing_outside_train_names_tch() {
    // Tests and examples of the losses do: they are what a user of tch would write. That none of them is built
    // without the feature, cargo says.
    for folder in ["src", "analysis", "experiments", "benches"] {
        for path in files(folder, ".rs").into_iter().filter(|p| !p.starts_with("src/train")) {
            let code = code_only(&read(&path));
            let named = code
                .match_indices("tch::")
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            assert!(!named, "{}: tch is the language of src/train alone", path.display());
        }
    }
}

#[test]
fn sections_of_the_method_that_are_cited_are_there() {
    let method = read(Path::new("METHOD.md"));
    let headings: BTreeSet<&str> = method
        .lines()
        .filter_map(|l| l.strip_prefix("## ")?.split_once(". "))
        .map(|(n, _)| n)
        .collect();
    let mut cited = 0;
    for folder in ["src", "analysis", "experiments", "tests", "examples", "benches"] {
        for path in [files(folder, ".rs"), files(folder, ".toml")].concat() {
            for after in read(&path).split(concat!("METHOD ", "section ")).skip(1) {
                let number = identifier(after);
                let missing = format!("{}: METHOD.md has no section {number}", path.display());
                assert!(headings.contains(number), "{missing}");
                cited += 1;
            }
        }
    }
    assert!(cited > 20, "only {cited} places cite the method");
}

#[test]
fn source_files_stay_short() {
    let mut long = Vec::new();
    for path in ["src", "analysis", "experiments", "examples"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
    {
        let lines = read(&path).lines().count();
        if lines > MAX_LINES {
            long.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(long.is_empty(), "split what is longer than {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn nothing_names_a_place_on_one_machine() {
    let places = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];
    let mut paths: Vec<PathBuf> =
        ["ARCHITECTURE.md", "README.md", "Makefile", "Cargo.toml", "build.rs", "clippy.toml"]
            .map(PathBuf::from)
            .into();
    paths.retain(|p| root().join(p).exists());
    for folder in
        ["src", "analysis", "experiments", "tests", "examples", "benches", "scripts", ".ci"]
    {
        for ending in [".rs", ".py", ".sh", ".md", ".toml", ".json", "run"] {
            paths.extend(files(folder, ending));
        }
    }
    for path in paths {
        let text = read(&path);
        for place in places {
            assert!(
                !text.contains(place),
                "{}: names a folder of one machine ({place})",
                path.display()
            );
        }
    }
}

#[test]
fn the_reader_of_source_sees_through_comments_strings_and_groups() {
    let source = "use crate::{run::RunDir, sim::{A, longtail}, Error};\n// crate::data\nlet s = \"crate::augment \\\" \"; let c = '\"';\nlet r = r#\"crate::train\"#; super::super::contrast::f();";
    let names = names_from_the_root(&code_only(source));
    let expected: BTreeSet<String> = ["run", "sim", "Error", "contrast"].map(String::from).into();
    assert_eq!(names, expected);
}
