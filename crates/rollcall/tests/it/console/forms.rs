//! Forms as a browser without JavaScript sends them: what a page has in them, with what somebody types.

use super::Served;

/// A form of a page.
#[derive(Clone, Debug)]
pub(super) struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

/// An attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescaped(rest.split('"').next().unwrap()))
}

fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    for (escape, c) in [
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#38;", "&"),
    ] {
        text = text.replace(escape, c);
    }
    text
}

impl Form {
    /// The first form of a page that goes to an address.
    pub(super) fn of(page: &str, action: &str) -> Self {
        let forms = page.split("<form ").skip(1);
        let mut forms = forms.map(|rest| rest.split("</form>").next().unwrap());
        let form = forms
            .find(|form| attribute(&format!(" {form}"), "action").as_deref() == Some(action))
            .unwrap_or_else(|| panic!("no form goes to {action}: {page}"));
        let mut fields = Vec::new();
        let mut rest = form;
        while let Some(at) = rest
            .find("<input ")
            .into_iter()
            .chain(rest.find("<textarea "))
            .chain(rest.find("<select "))
            .min()
        {
            rest = &rest[at..];
            let (tag, behind) = rest.split_once('>').unwrap();
            let is_box = tag.contains("type=\"checkbox\"") || tag.contains("type=\"radio\"");
            if let Some(name) = attribute(tag, "name").filter(|_| !is_box || tag.contains(" checked")) {
                let value = match tag.split(' ').next() {
                    // A line break right behind the tag does not count.
                    Some("<textarea") => unescaped(
                        behind
                            .split("</textarea>")
                            .next()
                            .unwrap()
                            .trim_start_matches('\n'),
                    ),
                    Some("<select") => {
                        let options = behind.split("</select>").next().unwrap();
                        let mut options = options.split("<option ").skip(1);
                        let first = options.clone().next().unwrap();
                        let chosen = options.find(|option| {
                            let tag = option.split('>').next().unwrap();
                            tag.ends_with(" selected")
                        });
                        attribute(&format!(" {}", chosen.unwrap_or(first)), "value").unwrap_or_default()
                    }
                    _ => attribute(tag, "value").unwrap_or_default(),
                };
                fields.push((name, value));
            }
            rest = behind;
        }
        Self {
            action: action.to_owned(),
            fields,
        }
    }

    /// What stands in a field.
    pub(super) fn value(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("there is no field {name}")).1
    }

    /// Types into a field. Of several of the same name it is the first one that is empty.
    pub(super) fn fill(mut self, name: &str, value: &str) -> Self {
        let several = self.fields.iter().filter(|(known, _)| known == name).count() > 1;
        let field = self
            .fields
            .iter_mut()
            .find(|(known, value)| known == name && (!several || value.is_empty()))
            .unwrap_or_else(|| panic!("there is no field {name}"));
        value.clone_into(&mut field.1);
        self
    }

    /// Empties the field that has a value.
    pub(super) fn clear(mut self, name: &str, value: &str) -> Self {
        let field = self
            .fields
            .iter_mut()
            .find(|field| **field == (name.to_owned(), value.to_owned()));
        field.unwrap().1.clear();
        self
    }

    /// Ticks a box, or presses a button that has a name.
    pub(super) fn tick(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.tick_too(name, value)
    }

    /// Ticks one more of the boxes that have the same name.
    pub(super) fn tick_too(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes the tick from one of them.
    pub(super) fn untick(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, has)| known != name || has != value);
        self
    }

    /// What stands in all fields of a name.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.fields.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// Sends it.
    pub(super) async fn send(self, served: &Served) -> reqwest::Response {
        served.submit(&self).await
    }
}

/// As a browser writes it in the body of a form.
fn encoded(text: &str) -> String {
    let text = text.replace('\n', "\r\n");
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl Served {
    /// A page that there is.
    pub(super) async fn page(&self, path: &str) -> String {
        let answer = self.ask(path, "en").await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// The form of a page that goes to where the page is, or to an address given with it.
    pub(super) async fn form(&self, path: &str, action: &str) -> Form {
        Form::of(&self.page(path).await, action)
    }

    pub(super) async fn submit(&self, form: &Form) -> reqwest::Response {
        let fields: Vec<(String, String)> = form
            .fields
            .iter()
            .map(|(name, value)| (encoded(name), encoded(value)))
            .collect();
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.post(&form.action, &fields).await
    }

    /// Sends a form that is accepted; returns where it leads, and the page there, which says what was done.
    pub(super) async fn accepted(&self, form: Form) -> (String, String) {
        let answer = self.submit(&form).await;
        let status = answer.status();
        let Some(location) = answer.headers().get("location") else {
            panic!("{}: {status} {}", form.action, answer.text().await.unwrap());
        };
        assert_eq!(status, 303, "{}", form.action);
        let location = location.to_str().unwrap().to_owned();
        let page = self.page(&location).await;
        assert!(page.contains("role=\"status\""), "{location} says nothing");
        (location, page)
    }

    /// Sends a form that is refused; returns the page, which is the form again, with what to do.
    pub(super) async fn refused(&self, form: Form) -> String {
        let answer = self.submit(&form).await;
        assert_eq!(answer.status(), 422, "{}", form.action);
        let page = answer.text().await.unwrap();
        assert!(page.contains("role=\"alert\""), "{} says nothing", form.action);
        page
    }
}
