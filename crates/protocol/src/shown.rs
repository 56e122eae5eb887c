//! A stranger's text, as it may stand in a log or an error.

use std::fmt::Write as _;

/// How many characters of it are shown.
const SHOWN: usize = 60;

/// The beginning of a text that somebody else wrote: its first 60 characters, with everything that is not visible
/// escaped, so that it can neither fill a log nor forge a line of it.
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(SHOWN) {
        if character == ' ' || is_visible(character) {
            shown.push(character);
        } else {
            let _ = write!(shown, "{}", character.escape_unicode());
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Letters, digits and signs; not spaces of other widths, nor what turns the direction of writing.
fn is_visible(character: char) -> bool {
    character.is_ascii_graphic() || character.is_alphanumeric()
}
