//! Configuration files.

use rollcall::config::Config;

/// A text is a configuration or it is refused with the line or the name of the setting; and one that was accepted
/// can be worked with.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Checking this one reads the file that it names, which may be any device.
    if text.contains("ca_file") {
        return;
    }
    match Config::of_text(text) {
        Ok(config) => {
            let _ = config.delivery_options();
            let _ = config.maintenance_options();
            let _ = config.public_url();
            config.egress().unwrap();
        }
        Err(error) => {
            let said = format!("{error:#}");
            let setting = rollcall::config::example();
            let names = |word: &str| {
                let name = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
                let last = name.rsplit('.').next().unwrap_or_default();
                last.len() > 2 && setting.contains(last)
            };
            assert!(
                said.contains("line ") || said.split_whitespace().any(names),
                "{said}"
            );
        }
    }
}
