//! What of a script's output tells why it failed.

/// The last lines of a text.
pub(crate) fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The last traceback that Python has printed, with the error it ends with; also a syntax error, which has no head.
pub(crate) fn last_traceback(text: &str) -> Option<Traceback> {
    let lines: Vec<&str> = text.lines().collect();
    // the error's own line: not indented, a (dotted) name of an exception, then nothing or a colon
    let is_error = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        let last = name.rsplit('.').next().unwrap_or_default();
        !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_'))
            && last.starts_with(|c: char| c.is_uppercase())
            && (line.len() == name.len() || line[name.len()..].starts_with(": "))
    };
    let is_frame = |line: &str| line.starts_with("  File \"");
    let begin = lines.iter().rposition(|line| line.starts_with("Traceback (most recent call last):"));
    let frame = lines.iter().rposition(|line| is_frame(line))?;
    let start = match begin {
        // a frame without head after it is a syntax error of its own
        Some(begin) if lines[begin..frame].iter().skip(1).all(|line| line.starts_with(' ') || line.is_empty()) => begin,
        _ => frame,
    };
    let end = (frame + 1..lines.len()).find(|at| is_error(lines[*at]))?;
    // a message may have several lines; what follows the error's line is kept as long as it is not clearly something else
    Some(Traceback { text: lines[start..=end].join("\n"), error: lines[end].to_owned() })
}

/// A traceback of a script.
#[derive(Debug, PartialEq)]
pub(crate) struct Traceback {
    pub(crate) text: String,
    pub(crate) error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_traceback_is_found_with_its_error() {
        let found = |text: &str| last_traceback(text).map(|t| (t.text.lines().count(), t.error));
        let plain = "epoch 1\nTraceback (most recent call last):\n  File \"train.py\", line 3, in <module>\n    f()\n  File \"train.py\", line 2, in f\n    raise ValueError('no')\nValueError: no\nbye\n";
        assert_eq!(found(plain), Some((6, "ValueError: no".into())));
        let chained = format!(
            "{plain}\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 9, in g\n    h()\n    ^^^\ntorch.cuda.OutOfMemoryError: CUDA out of memory.\n"
        );
        assert_eq!(found(&chained), Some((5, "torch.cuda.OutOfMemoryError: CUDA out of memory.".into())));
        let syntax = "  File \"/x/train.py\", line 1\n    def (\n        ^\nSyntaxError: invalid syntax\n";
        assert_eq!(found(syntax), Some((4, "SyntaxError: invalid syntax".into())));
        let imported = "Traceback (most recent call last):\n  File \"m.py\", line 1, in <module>\n    import lib\n  File \"lib.py\", line 2\n    x =\n      ^\nSyntaxError: invalid syntax\n";
        assert_eq!(found(imported), Some((7, "SyntaxError: invalid syntax".into())));
        assert_eq!(
            found("Traceback (most recent call last):\n  File \"m.py\", line 1\nKeyboardInterrupt\n"),
            Some((3, "KeyboardInterrupt".into()))
        );
        assert_eq!(found("all is well\nNote: this is none\n"), None);
    }
}
