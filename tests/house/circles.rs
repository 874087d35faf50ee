//! Files of one folder use each other in one direction only. Files below it, and a `mod.rs`, `lib.rs` or
//! `main.rs`, which declare and re-export, do not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{code_only, files, identifier, library_code, read};

/// Which files of a folder each of its files uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Every path that the tree of a path or of a `use` stands for, `a::{b, c::d as e}` as `a::b` and
/// `a::c::d::e`: the last name is the one it has here.
fn paths(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        let (mut depth, mut start, mut found) = (0, 0, Vec::new());
        for (at, c) in group.char_indices() {
            let ends = depth == 0 && (c == ',' || c == '}');
            if ends && !group[start..at].trim().is_empty() {
                found.extend(paths(&group[start..at]));
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = at + 1,
                _ => {}
            }
        }
        return found;
    }
    let name = identifier(tree);
    let rest = tree[name.len()..].trim_start();
    if let Some(below) = rest.strip_prefix("::") {
        let more = paths(below).into_iter();
        return more.map(|path| [vec![name.to_owned()], path].concat()).collect();
    }
    let alias = rest.strip_prefix("as ").map(|alias| identifier(alias).to_owned());
    vec![[name.to_owned()].into_iter().chain(alias).collect()]
}

/// The trees that begin with `word` and `::`, as paths.
fn paths_from(code: &str, word: &str) -> Vec<Vec<String>> {
    let start = format!("{word}::");
    let starts = code.match_indices(&start).filter(|(at, _)| {
        !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
    });
    starts.flat_map(|(at, _)| paths(&code[at..])).collect()
}

/// From the names that the module of a folder re-exports to the file that each comes from.
fn exports(module: &str) -> BTreeMap<String, String> {
    let uses = module.match_indices("use ").flat_map(|(at, u)| paths(&module[at + u.len()..]));
    let own = uses.map(|path| match path[0].as_str() {
        "self" => path[1..].to_vec(),
        _ => path,
    });
    own.filter(|path| path.len() > 1)
        .map(|path| (path[path.len() - 1].clone(), path[0].clone()))
        .collect()
}

/// Which of `members`, files of the folder whose module is `folder`, this code of one of them uses.
fn used(
    code: &str,
    folder: &[String],
    members: &BTreeSet<String>,
    exports: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    let absolute = paths_from(code, "crate")
        .into_iter()
        .filter_map(|path| path[1..].strip_prefix(folder).and_then(<[String]>::first).cloned());
    let relative = paths_from(code, "super").into_iter().filter_map(|path| path.get(1).cloned());
    absolute
        .chain(relative)
        .map(|name| {
            if members.contains(&name) { name } else { exports.get(&name).cloned().unwrap_or(name) }
        })
        .filter(|name| members.contains(name))
        .collect()
}

/// The first circle there is, as the names on the way round.
fn circle(uses: &Uses) -> Option<Vec<String>> {
    fn walk(
        uses: &Uses,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        let here = way.last()?.clone();
        for next in uses.get(&here).into_iter().flatten().filter(|next| **next != here) {
            if let Some(at) = way.iter().position(|passed| passed == next) {
                return Some(way[at..].to_vec());
            }
            if !done.contains(next) {
                way.push(next.clone());
                if let Some(found) = walk(uses, way, done) {
                    return Some(found);
                }
                way.pop();
            }
        }
        done.insert(here);
        None
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|start| walk(uses, &mut vec![start.clone()], &mut done))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn files_of_one_folder_do_not_use_each_other_in_circles() {
    let mut circles = Vec::new();
    for root in ["src", "analysis", "experiments"] {
        let all = files(root, ".rs");
        let folders: BTreeSet<&Path> = all.iter().filter_map(|path| path.parent()).collect();
        for folder in folders {
            let is_module =
                |path: &&std::path::PathBuf| ["mod", "lib", "main"].contains(&stem(path).as_str());
            let here = || all.iter().filter(|path| path.parent() == Some(folder));
            let members: BTreeSet<String> =
                here().filter(|path| !is_module(path)).map(|path| stem(path)).collect();
            let beside = folder.with_extension("rs");
            let module = here().find(is_module).or(all.iter().find(|path| **path == beside));
            let exports =
                module.map_or_else(BTreeMap::new, |path| exports(&code_only(&read(path))));
            let inside = folder.strip_prefix(root).unwrap();
            let name: Vec<String> =
                inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            let uses: Uses = here()
                .filter(|path| !is_module(path))
                .map(|path| (stem(path), used(&library_code(path), &name, &members, &exports)))
                .collect();
            circles.extend(
                circle(&uses).map(|way| format!("{}: {}", folder.display(), way.join(" -> "))),
            );
        }
    }
    assert!(circles.is_empty(), "move what is shared into a file below:\n{}", circles.join("\n"));
}

#[test]
fn circles_are_found_through_groups_and_reexports() {
    let names = |list: &[&str]| -> BTreeSet<String> { list.iter().map(|&n| n.into()).collect() };
    let folder = ["data".to_owned()];
    let exports = exports("pub use set::{Broken, sub::Image as Picture};\npub use idx::open;");
    let members = names(&["set", "idx", "cifar", "cache"]);
    let used = |code| used(code, &folder, &members, &exports);
    assert_eq!(used("use super::{Picture, cache::{self, hex}};"), names(&["cache", "set"]));
    assert_eq!(used("use crate::{data::{open, cifar::Cifar}, run};"), names(&["cifar", "idx"]));
    assert_eq!(used("use crate::run::cache; fn f() { other::set() }"), names(&[]));
    assert_eq!(used("fn f(b: super::Broken) {}"), names(&["set"]));

    let uses = |list: &[(&str, &[&str])]| -> Uses {
        list.iter().map(|&(from, to)| (from.to_owned(), names(to))).collect()
    };
    let straight = uses(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &["c"])]);
    assert_eq!(circle(&straight), None);
    let round = uses(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
    assert_eq!(circle(&round), Some(vec!["b".into(), "c".into()]));
}
