//! The drawings of the console, each on a ground of 24 by 24. They stand beside words and are hidden from readers of
//! the screen.

/// One drawing; nothing for a name that there is not.
pub(super) fn draw(name: &str) -> String {
    let lines = match name {
        "home" => r#"<path d="M4 11.5 12 4.5l8 7M6.5 9.8V19.5h11V9.8"/>"#,
        "applications" => {
            r#"<rect x="4" y="4" width="6.5" height="6.5" rx="1.5"/><rect x="13.5" y="4" width="6.5" height="6.5" rx="1.5"/><rect x="4" y="13.5" width="6.5" height="6.5" rx="1.5"/><rect x="13.5" y="13.5" width="6.5" height="6.5" rx="1.5"/>"#
        }
        "directory" | "unit" => {
            r#"<rect x="8.5" y="3.5" width="7" height="5" rx="1.2"/><rect x="3" y="15.5" width="7" height="5" rx="1.2"/><rect x="14" y="15.5" width="7" height="5" rx="1.2"/><path d="M12 8.5V12M6.5 15.5V12h11v3.5"/>"#
        }
        "connections" => r#"<path d="M13 4.5h6.5v15H13M4 12h10M10.5 8.5 14 12l-3.5 3.5"/>"#,
        "audit" => r#"<path d="M7 3.5h7.5l3.5 3.5v13.5H7zM10 10.5h5M10 14h5M10 17.5h3"/>"#,
        "access" => r#"<circle cx="8" cy="14.5" r="4"/><path d="m11 11.5 8-8M15.5 7l3 3M12.8 9.7l2 2"/>"#,
        "menu" => r#"<path d="M4 7h16M4 12h16M4 17h16"/>"#,
        "good" => r#"<circle cx="12" cy="12" r="8.5"/><path d="m8.5 12.3 2.4 2.4 4.8-5.2"/>"#,
        "wait" => r#"<circle cx="12" cy="12" r="8.5"/><path d="M12 7.5V12l3 2"/>"#,
        "warn" => r#"<path d="M12 4 21 19.5H3zM12 10v4.5M12 17v.1"/>"#,
        "bad" => r#"<circle cx="12" cy="12" r="8.5"/><path d="m9 9 6 6M15 9l-6 6"/>"#,
        "idle" => r#"<circle cx="12" cy="12" r="8.5"/><path d="M10 9v6M14 9v6"/>"#,
        "info" => r#"<circle cx="12" cy="12" r="8.5"/><path d="M12 11v5M12 8v.1"/>"#,
        "closed" => r#"<path d="m9 6 6 6-6 6"/>"#,
        "opened" => r#"<path d="m6 9 6 6 6-6"/>"#,
        "search" => r#"<circle cx="11" cy="11" r="6.5"/><path d="m16 16 4.5 4.5"/>"#,
        _ => return String::new(),
    };
    format!(
        r#"<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{lines}</svg>"#
    )
}
