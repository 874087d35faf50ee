//! The pages that people read: links that lead somewhere, a first page that is one.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{files, read, root};

const FIRST_PAGE: &str = "README.md";
/// Lines of the first page at most.
const FIRST_PAGE_LINES: usize = 120;

/// Every page that is written by hand.
pub(crate) fn pages() -> Vec<PathBuf> {
    let pages = [
        FIRST_PAGE,
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "METHOD.md",
        "experiments/README.md",
        "tests/fixtures/README.md",
    ];
    pages.map(PathBuf::from).into_iter().chain(files("docs", ".md")).collect()
}

/// Targets of the links and figures in a page, code blocks and other sites left out, anchors cut off.
fn relative_links(page: &str) -> Vec<&str> {
    let mut in_code = false;
    let prose = page.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !fence && !in_code
    });
    prose
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

/// The file that `target` in `page` means, from the root of the repository.
fn target_of(page: &Path, target: &str) -> PathBuf {
    let mut path = page.parent().unwrap().to_path_buf();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

#[test]
fn every_relative_link_of_a_page_leads_to_a_file() {
    let mut broken = Vec::new();
    for page in pages() {
        for target in relative_links(&read(&page)) {
            if !root().join(target_of(&page, target)).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_page_of_docs_is_found_from_the_first_page() {
    let pages: BTreeSet<PathBuf> = pages().into_iter().collect();
    let mut reached = BTreeSet::from([PathBuf::from(FIRST_PAGE)]);
    let mut open: Vec<PathBuf> = reached.iter().cloned().collect();
    while let Some(page) = open.pop() {
        for target in relative_links(&read(&page)) {
            let target = target_of(&page, target);
            if pages.contains(&target) && reached.insert(target.clone()) {
                open.push(target);
            }
        }
    }
    let lost: Vec<String> = files("docs", ".md")
        .iter()
        .filter(|p| !reached.contains(*p))
        .map(|p| p.display().to_string())
        .collect();
    assert!(lost.is_empty(), "no link leads to {}", lost.join(", "));
    assert!(reached.iter().filter(|p| p.starts_with("docs")).count() > 5);
}

#[test]
fn the_first_page_is_short_and_says_what_was_not_verified() {
    let page = read(Path::new(FIRST_PAGE));
    let lines = page.lines().count();
    assert!(lines <= FIRST_PAGE_LINES, "{FIRST_PAGE}: {lines} lines; at most {FIRST_PAGE_LINES}");
    assert!(relative_links(&page).contains(&"docs/limits.md"), "{FIRST_PAGE}: docs/limits.md");
    let rust = read(Path::new("Cargo.toml"));
    let rust = rust.lines().find_map(|l| l.strip_prefix("rust-version = ")).unwrap();
    let needed = format!("Rust {} or newer", rust.trim_matches('"'));
    for page in [FIRST_PAGE, "docs/training.md"] {
        assert!(read(Path::new(page)).contains(&needed), "{page}: expected \"{needed}\"");
    }
}

#[test]
fn links_are_read_without_code_anchors_and_other_sites() {
    let page = "[a](docs/a.md#top) ![b](../b.png) [c](https://example.org/c) [d](#here)\n\
                ```sh\n[e](e.md)\n```\n[f](f.md) and [g](g/)";
    assert_eq!(relative_links(page), ["docs/a.md", "../b.png", "f.md", "g/"]);
    let from = |target| target_of(Path::new("docs/x.md"), target);
    assert_eq!(from("../b.png"), Path::new("b.png"));
    assert_eq!(from("./a.md"), Path::new("docs/a.md"));
}
