//! Parts of documents that a command writes: what stands between `<!-- name -->` and the next `<!-- end -->`.

use anyhow::{Context as _, Result};
use std::path::Path;

/// Replaces the part of this name.
///
/// # Errors
/// The file has no such part, or cannot be read or written.
pub fn write_between(file: &Path, name: &str, part: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let text = replaced(&text, name, part)
        .with_context(|| format!("{} has no <!-- {name} --> and <!-- end -->", file.display()))?;
    Ok(std::fs::write(file, text)?)
}

fn replaced(text: &str, name: &str, part: &str) -> Option<String> {
    let mark = format!("<!-- {name} -->");
    let begin = text.find(&mark)? + mark.len();
    let end = begin + text[begin..].find("<!-- end -->")?;
    Some(format!("{}\n{part}{}", &text[..begin], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_of_that_name_is_replaced() {
        let text = "a\n<!-- x -->\n1\n<!-- end -->\nb\n<!-- y -->\n2\n<!-- end -->\n";
        let expected = "a\n<!-- x -->\n1\n<!-- end -->\nb\n<!-- y -->\n3\n4\n<!-- end -->\n";
        assert_eq!(replaced(text, "y", "3\n4\n").as_deref(), Some(expected));
        assert_eq!(replaced(text, "z", "3"), None);
        assert_eq!(replaced("<!-- x -->", "x", "3"), None);
    }
}
