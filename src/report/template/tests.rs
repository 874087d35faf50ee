//! The rules of the templates, and what every report's test asks of its own: each branch rendered.

use super::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn of_source(source: &str, context: &Value) -> Result<String> {
    let env = environment(&[("t.md.j2", source)]);
    env.and_then(|env| rendered(&env, "t.md.j2", context)).map_err(|e| error(&e))
}

#[test]
fn what_was_not_handed_over_is_an_error_that_names_the_line() {
    let context = json!({ "here": 3, "nothing": null, "fraction": 0.1, "list": [1] });
    assert_eq!(of_source("{{ here }} &\n", &context).unwrap(), "3 &\n");
    for (source, said) in [
        ("a\n{{ gone }}", "undefined"),
        ("a\n{{ here.gone }}", "undefined"),
        ("a\n{% if gone %}b{% endif %}", "undefined"),
        ("a\n{{ nothing }}", "None is shown"),
        ("a\n{{ fraction }}", "0.1 is shown"),
        ("a\n{{ list }}", "is shown"),
        ("a\n{% if here %}b", "unexpected end"),
    ] {
        let message = of_source(source, &context).unwrap_err().to_string();
        assert!(message.ends_with("(in t.md.j2:2)"), "{message}");
        assert!(message.contains(said) && !message.contains('\n'), "{said}: {message}");
    }
}

#[test]
fn tags_on_lines_of_their_own_leave_no_line() {
    let source = "a\n{% if yes %}\nb\n\n{% endif %}\nc\n";
    assert_eq!(of_source(source, &json!({ "yes": true })).unwrap(), "a\nb\n\nc\n");
    assert_eq!(of_source(source, &json!({ "yes": false })).unwrap(), "a\nc\n");
}

/// Renders `name` with `full` and with what follows from it: each condition and each pair of them
/// turned over, each list empty. `full` has everything that can be there, lists with two entries.
///
/// # Panics
/// If a branch of the template, or of one that it includes, is never taken; if a name is undefined;
/// if the text shows that words are missing; if something is handed over that no word asks for.
pub(crate) fn assert_every_branch(name: &str, full: &impl Serialize) {
    let full = serde_json::to_value(full).unwrap();
    let sources = with_includes(name);
    let mut marks = vec![];
    let marked: Vec<(&str, String)> =
        sources.iter().map(|(name, text)| (*name, with_marks(name, text, &mut marks))).collect();
    let marked: Vec<(&str, &str)> = marked.iter().map(|(name, text)| (*name, &**text)).collect();
    let (whole, marked) = (environment(&TEMPLATES).unwrap(), environment(&marked).unwrap());
    let mut unseen: BTreeSet<usize> = (0..marks.len()).collect();
    for context in variants(&full, &conditions(&sources)) {
        let text = rendered(&marked, name, &context).unwrap();
        unseen.retain(|i| !text.contains(&mark(*i)));
        assert_whole(&rendered(&whole, name, &context).unwrap());
    }
    let unseen: Vec<_> = unseen.into_iter().map(|i| &marks[i]).collect();
    assert!(unseen.is_empty(), "branches that no context takes: {unseen:#?}");
    let all: String = sources.iter().map(|(_, text)| *text).collect();
    for key in keys(&full) {
        assert!(
            words(&all).any(|w| w == key),
            "{key} is handed over, and {name} has no word for it"
        );
    }
}

/// The template and those that it includes.
fn with_includes(name: &str) -> Vec<(&'static str, &'static str)> {
    let own = TEMPLATES.into_iter().find(|(n, _)| *n == name).unwrap();
    let included = own.1.split("{% include \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    std::iter::once(own).chain(included.flat_map(with_includes)).collect()
}

fn mark(i: usize) -> String {
    format!("⟦{i}⟧")
}

/// The same template with a mark at the start of every branch, those without a word included.
fn with_marks(name: &str, source: &str, marks: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut open: Vec<(String, bool)> = vec![];
    let mut rest = source;
    let mut push = |out: &mut String, what: String| {
        *out += &mark(marks.len());
        marks.push(format!("{name}: {what}"));
    };
    while let Some(start) = rest.find("{%") {
        let end = start + rest[start..].find("%}").unwrap() + 2;
        let tag = &rest[start..end];
        let inside = tag.trim_matches(|c| "{}%-+ ".contains(c));
        out += &rest[..start];
        rest = &rest[end..];
        match inside.split_whitespace().next().unwrap() {
            "if" | "for" => {
                out += tag;
                push(&mut out, inside.into());
                open.push((inside.into(), false));
            }
            "elif" => {
                out += tag;
                push(&mut out, inside.into());
            }
            "else" => {
                out += tag;
                let block = open.last_mut().unwrap();
                block.1 = true;
                push(&mut out, format!("else of {}", block.0));
            }
            "endif" | "endfor" => {
                let (block, has_else) = open.pop().unwrap();
                if !has_else && block.starts_with("if") {
                    out += "{% else %}";
                    push(&mut out, format!("not: {block}"));
                }
                out += tag;
            }
            _ => out += tag,
        }
    }
    out + rest
}

/// Last names of what the templates ask in a condition or go through in a loop.
fn conditions(sources: &[(&str, &str)]) -> BTreeSet<String> {
    let tags = sources.iter().flat_map(|(_, text)| text.split("{%").skip(1));
    let inside = tags.map(|t| t.split("%}").next().unwrap().trim_matches(|c| "-+ ".contains(c)));
    let asked = inside.filter(|t| ["if ", "elif ", "for "].iter().any(|w| t.starts_with(w)));
    let looped = asked.map(|t| t.split_once(" in ").map_or(t, |(_, list)| list));
    looped
        .flat_map(str::split_whitespace)
        .map(|path| path.rsplit('.').next().unwrap().to_string())
        .collect()
}

/// Contexts that turn over each condition and each pair of conditions of `full`.
fn variants(full: &Value, conditions: &BTreeSet<String>) -> Vec<Value> {
    let mut base = full.clone();
    let mut places = vec![];
    find(full, &mut vec![], conditions, &mut places);
    for place in &places {
        let at = base.pointer_mut(place).unwrap();
        if at.is_boolean() {
            *at = false.into();
        }
    }
    let turned = |context: &Value, place: &str| {
        let mut context = context.clone();
        // Gone with what holds it.
        if let Some(at) = context.pointer_mut(place) {
            *at = match at {
                Value::Bool(_) => true.into(),
                Value::Array(_) => json!([]),
                _ => Value::Null,
            };
        }
        context
    };
    let mut all = vec![full.clone(), base.clone()];
    for (i, a) in places.iter().enumerate() {
        let one = turned(&base, a);
        all.extend(places[i + 1..].iter().map(|b| turned(&one, b)));
        all.push(one);
    }
    all
}

/// Places in `value` whose name is one of `conditions`.
fn find(value: &Value, at: &mut Vec<String>, conditions: &BTreeSet<String>, out: &mut Vec<String>) {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => vec![],
    };
    for (name, value) in inside {
        at.push(name.clone());
        if conditions.contains(&name) {
            out.push(format!("/{}", at.join("/")));
        }
        find(value, at, conditions, out);
        at.pop();
    }
}

/// Names of all fields.
fn keys(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(k, v)| keys(v).into_iter().chain([k.clone()])).collect()
        }
        Value::Array(items) => items.iter().flat_map(keys).collect(),
        _ => BTreeSet::new(),
    }
}

/// The words inside tags and expressions.
fn words(source: &str) -> impl Iterator<Item = &str> {
    let inside = source.split('{').skip(1).filter_map(|t| t.split_once('}')).map(|(t, _)| t);
    inside.flat_map(|t| t.split(|c: char| !c.is_alphanumeric() && c != '_'))
}

/// Text without a sign that words are missing: no empty line twice, no space before a full stop, no
/// two spaces in a sentence, no rest of a tag.
fn assert_whole(text: &str) {
    assert!(!text.contains("\n\n\n") && text.ends_with('\n'), "{text}");
    for line in text.lines() {
        let prose = line.trim_start();
        for sign in [" .", " ,", " ;", "..", "**.", "****", "  ", "{%", "%}", "{{", "{#", "[]("] {
            assert!(!prose.contains(sign), "\"{sign}\" in: {line}");
        }
        assert_eq!(line.trim_end(), line, "a space at the end");
    }
}
