//! Paths of organizational units as text: the names from below the root, joined by `/`, as in
//! `Engineering/Optics`. A `/`, `;` or `\` that belongs to a name is written with a `\` before it.

/// The names of a path. Empty names and white space around names do not count, so `/` is the root.
pub fn split(text: &str) -> Vec<String> {
    names(text, '/')
}

/// The paths (or other texts) of a list that is separated by `;`. What they are made of stays escaped.
pub fn split_list(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        match (character, items.last_mut()) {
            (';', _) if !escaped => items.push(String::new()),
            (_, Some(last)) => last.push(character),
            (_, None) => {}
        }
        escaped = character == '\\' && !escaped;
    }
    items.retain(|item| !item.trim().is_empty());
    items.iter().map(|item| item.trim().to_owned()).collect()
}

/// A text without the escapes that [`escape`] put into it.
pub fn unescape(text: &str) -> String {
    names(text, '\u{0}').pop().unwrap_or_default()
}

/// Joins names to a path.
pub fn join<S: AsRef<str>>(names: &[S]) -> String {
    let escaped: Vec<String> = names.iter().map(|name| escape(name.as_ref())).collect();
    escaped.join("/")
}

/// Writes a name so that it can stand in a path or a list.
pub fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '/' | ';' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn names(text: &str, separator: char) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let literal = match character {
            '\\' => characters.next().unwrap_or('\\'),
            _ if character == separator => {
                names.push(String::new());
                continue;
            }
            _ => character,
        };
        if let Some(name) = names.last_mut() {
            name.push(literal);
        }
    }
    names.retain(|name| !name.trim().is_empty());
    names.iter().map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_read_as_people_write_them() {
        assert_eq!(split("/ Engineering / Optics/"), ["Engineering", "Optics"]);
        assert_eq!(split("R\\/D/Lasers"), ["R/D", "Lasers"]);
        assert!(split("/").is_empty() && split("").is_empty());
        assert_eq!(split_list("A/B; C\\;D ;;"), ["A/B", "C\\;D"]);
        assert_eq!(unescape("C\\;D"), "C;D");
    }

    proptest! {
        #[test]
        fn what_is_joined_is_split_again(names in proptest::collection::vec("[a-z/;\\\\ü]{0,6}[a-z/;\\\\]", 0..5)) {
            prop_assert_eq!(split(&join(&names)), names.clone());
            let list = names.iter().map(|name| escape(name)).collect::<Vec<_>>().join(";");
            let items: Vec<String> = split_list(&list).iter().map(|item| unescape(item)).collect();
            prop_assert_eq!(items, names);
        }
    }
}
