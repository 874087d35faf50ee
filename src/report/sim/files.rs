//! The files of a report and how each is made.

use crate::{
    Result,
    report::{Figure, render},
};
use serde_json::Value;

/// Size of one of two panels side by side, logical pixels: text of 9.7 units is 7 points high where
/// the figure is as wide as a page (178 mm), and as high in a single panel of one column (84 mm).
pub(crate) const PANEL: (u32, u32) = (350, 275);

/// A file of a report: its name in the report's folder and its bytes.
pub type ReportFile = (String, Vec<u8>);

pub(crate) fn push_figure(
    files: &mut Vec<ReportFile>,
    name: &str,
    figure: &dyn Figure,
) -> Result<()> {
    let drawn = render(figure)?;
    files.push((format!("{name}.png"), drawn.png));
    files.push((format!("{name}.svg"), drawn.svg.into_bytes()));
    Ok(())
}

pub(crate) fn json_bytes(value: &Value) -> Vec<u8> {
    json_text(value).into_bytes()
}

/// JSON with a final newline, indented but for lists and objects that hold nothing but numbers and
/// words: each of those is a line, so that a matrix reads row by row and a table line by line.
pub fn json_text(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, 0, &mut out);
    out + "\n"
}

fn write_json(value: &Value, depth: usize, out: &mut String) {
    let nested = |v: &Value| v.is_array() || v.is_object();
    let line = |depth: usize| format!("\n{}", "  ".repeat(depth));
    match value {
        Value::Array(items) if items.iter().any(nested) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                out.push_str(&line(depth + 1));
                write_json(item, depth + 1, out);
            }
            out.push_str(&line(depth));
            out.push(']');
        }
        Value::Object(fields) if fields.values().any(nested) => {
            out.push('{');
            for (i, (name, item)) in fields.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                out.push_str(&format!("{}{}: ", line(depth + 1), Value::from(name.as_str())));
                write_json(item, depth + 1, out);
            }
            out.push_str(&line(depth));
            out.push('}');
        }
        flat => out.push_str(&flat.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_the_same_value_with_rows_on_lines_of_their_own() {
        let value = json!({
            "matrix": [[1.5, 2.0], [null, -1e-7]],
            "a \"name\"": { "of": [], "rows": [{ "x": 1, "y": "z" }, { "x": 2, "y": "w" }] },
            "none": {},
        });
        let text = json_text(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.contains("\n    [1.5,2.0],\n    [null,-1e-7]\n  ],"), "{text}");
        assert!(text.contains("\n      {\"x\":1,\"y\":\"z\"},\n"), "{text}");
    }
}
