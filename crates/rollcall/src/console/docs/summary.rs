//! `docs/SUMMARY.md`: which pages the book has, and in which order.

/// A part of the book.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) title: String,
    pub(super) entries: Vec<Entry>,
}

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) title: String,
    /// Below `docs/`.
    pub(super) file: String,
    /// Whether it stands below the page before it.
    pub(super) is_nested: bool,
}

/// Reads it: a heading for each part, and below it a line such as `- [Title](file.md)` for each page. The heading of
/// the file itself is a part without pages, and left out.
pub(super) fn read(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            parts.push(Part {
                title: title.trim().to_owned(),
                entries: Vec::new(),
            });
        } else if let (Some(part), Some(entry)) = (parts.last_mut(), entry(line)) {
            part.entries.push(entry);
        }
    }
    parts.retain(|part| !part.entries.is_empty());
    parts
}

fn entry(line: &str) -> Option<Entry> {
    let (title, rest) = line.trim_start().strip_prefix("- [")?.split_once("](")?;
    Some(Entry {
        title: title.to_owned(),
        file: rest.trim_end().strip_suffix(')')?.to_owned(),
        is_nested: line.starts_with(' '),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_pages_are_read_in_their_order() {
        let parts = read(
            "# Summary\n\n# Begin\n\n- [One](one.md)\n  - [Two](below/two.md)\n\n# End\n- [Three](3.md)\n",
        );
        let told: Vec<_> = parts
            .iter()
            .flat_map(|part| part.entries.iter().map(move |entry| (part, entry)))
            .map(|(part, entry)| (part.title.as_str(), entry.file.as_str(), entry.is_nested))
            .collect();
        assert_eq!(
            told,
            [
                ("Begin", "one.md", false),
                ("Begin", "below/two.md", true),
                ("End", "3.md", false)
            ]
        );
    }
}
