//! The words of the reports: Markdown templates in `templates/`, one per report. Rust hands over
//! texts, whole numbers, tables and conditions by name; a sentence is mended in the template alone.

use crate::{Error, Result};
use minijinja::{
    Environment, ErrorKind, UndefinedBehavior, escape_formatter, syntax::SyntaxConfig, value::Serde,
};
use serde::Serialize;

/// The templates by name; one may include another.
const TEMPLATES: [(&str, &str); 6] = [
    ("dual-findings.md.j2", include_str!("templates/dual-findings.md.j2")),
    ("dual-imbalance.md.j2", include_str!("templates/dual-imbalance.md.j2")),
    ("easy-pairs.md.j2", include_str!("templates/easy-pairs.md.j2")),
    ("easy-section.md.j2", include_str!("templates/easy-section.md.j2")),
    ("from-features.md.j2", include_str!("templates/from-features.md.j2")),
    ("training.md.j2", include_str!("templates/training.md.j2")),
];

/// The template `name` with what `context` hands over.
///
/// # Errors
/// If the template cannot be read, or asks for what was not handed over: the line in it.
pub(crate) fn render(name: &str, context: &impl Serialize) -> Result<String> {
    environment(&TEMPLATES).and_then(|env| rendered(&env, name, context)).map_err(|e| error(&e))
}

fn rendered(
    env: &Environment<'_>,
    name: &str,
    context: &impl Serialize,
) -> Result<String, minijinja::Error> {
    env.get_template(name)?.render(Serde(context))
}

/// One line; of an error in an included template the innermost names its line.
fn error(error: &minijinja::Error) -> Error {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    Error::run(format!("template of a report: {inner}"))
}

/// The templates under one set of rules; what is wrong in one of them shows here or in the render.
fn environment(
    templates: &[(&'static str, &str)],
) -> Result<Environment<'static>, minijinja::Error> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    // A tag that has a line to itself leaves no empty line behind.
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    env.set_syntax(syntax.build()?);
    // A fraction is formatted where its digits are known, and what is absent has no words.
    env.set_formatter(|out, state, value| {
        if value.as_str().is_some() || value.is_integer() {
            return escape_formatter(out, state, value);
        }
        let message = format!("{value} is shown; expected a text or a whole number");
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    for (name, source) in templates {
        env.add_template_owned(*name, (*source).to_string())?;
    }
    Ok(env)
}

#[cfg(test)]
pub(crate) mod tests;
