//! As much of a browser's remote control as the tests need: Debian's Chromium and its driver (W3C WebDriver, with the
//! commands of Chromium's own protocol).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// For how long something is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser without a window.
pub(super) struct Browser {
    driver: Child,
    /// The browser's own process.
    browser: Option<rustix::process::Pid>,
    session: String,
    client: reqwest::Client,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
        // The driver does not always end its browser when it is told to end itself.
        if let Some(browser) = self.browser {
            let _ = rustix::process::kill_process(browser, rustix::process::Signal::KILL);
        }
    }
}

fn found(names: &[&'static str]) -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    names.iter().find(is_there).copied()
}

impl Browser {
    /// Starts one. The error says what is missing.
    async fn start() -> Result<Self, String> {
        let Some(driver) = found(&["chromedriver"]) else {
            return Err("chromedriver is not installed".to_owned());
        };
        let Some(browser) = found(&["chromium", "google-chrome", "chromium-browser"]) else {
            return Err("Chromium is not installed".to_owned());
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let port = port.ok_or("chromedriver ended before it was ready")?;
        let profile = tempfile::tempdir().unwrap();
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        if rustix::process::geteuid().is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        let client = super::http().timeout(Duration::from_secs(120)).build().unwrap();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments, "binary": which(browser) },
        }}});
        let base = format!("http://127.0.0.1:{port}/session");
        let answer = send(client.post(&base), &wanted).await;
        let session = answer["sessionId"].as_str().unwrap_or_default();
        assert!(!session.is_empty(), "no session: {answer}");
        let browser = answer["capabilities"]["goog:processID"].as_i64();
        let browser = browser.and_then(|pid| i32::try_from(pid).ok());
        Ok(Self {
            session: format!("{base}/{session}"),
            driver,
            browser: browser.and_then(rustix::process::Pid::from_raw),
            client,
            _profile: profile,
        })
    }

    /// One whose pages can be asked by axe-core what is wrong with them; `None` if there is no browser here, and then
    /// it is said `what` was not done.
    pub(super) async fn with_axe(what: &str) -> Option<Self> {
        let browser = match Self::start().await {
            Ok(browser) => browser,
            Err(missing) => {
                rollcall_db::testing::did_not_run("chromium", &format!("{missing}, so {what}"));
                return None;
            }
        };
        let axe = include_str!("../data/axe-core/axe.min.js");
        let source = json!({ "source": axe });
        browser
            .chromium("Page.addScriptToEvaluateOnNewDocument", source)
            .await;
        Some(browser)
    }

    /// Presses a key and lets it go.
    pub(super) async fn key(&self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let press = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.chromium("Input.dispatchKeyEvent", press).await;
        }
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        send(self.client.post(format!("{}/{path}", self.session)), &body).await
    }

    /// A command of Chromium's own protocol.
    pub(super) async fn chromium(&self, command: &str, parameters: Value) -> Value {
        self.command(
            "goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
        .await
    }

    /// Opens a page and waits until it is loaded.
    pub(super) async fn open(&self, address: &str) {
        self.command("url", json!({ "url": address })).await;
    }

    /// Runs a script whose last argument is called with the result.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.command("execute/async", json!({ "script": script, "args": [] }))
            .await
    }

    /// Whether scripts of pages run.
    pub(super) async fn scripts(&self, run: bool) {
        let parameters = json!({ "value": !run });
        self.chromium("Emulation.setScriptExecutionDisabled", parameters)
            .await;
    }

    /// The first element that a selector finds, once it is there.
    async fn element(&self, selector: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.found(selector).await {
                return found;
            }
            if begun.elapsed() > PATIENCE {
                let page = self.get("source").await;
                panic!("there is no {selector}: {}", page.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn found(&self, selector: &str) -> Option<String> {
        let body = json!({ "using": "css selector", "value": selector });
        let elements = self.command("elements", body).await;
        let element = elements.as_array().unwrap().first()?.as_object().unwrap();
        element.values().next().unwrap().as_str().map(str::to_owned)
    }

    /// Whether a selector finds something.
    pub(super) async fn has(&self, selector: &str) -> bool {
        self.found(selector).await.is_some()
    }

    /// Waits for something to be there.
    pub(super) async fn wait_for(&self, selector: &str) {
        self.element(selector).await;
    }

    /// Clicks on something that leads to another page, and waits until this one is gone.
    pub(super) async fn press(&self, selector: &str) {
        let page = self.element("html").await;
        self.click(selector).await;
        let begun = Instant::now();
        loop {
            let request = self.client.get(format!("{}/element/{page}/name", self.session));
            if !ask(request, &Value::Null).await["error"].is_null() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{selector} leads nowhere");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks on something.
    pub(super) async fn click(&self, selector: &str) {
        self.with(selector, async |element| {
            let request = self.client.post(format!("{}/{element}/click", self.session));
            ask(request, &json!({})).await
        })
        .await;
    }

    /// Does something with an element; again, if a page that is followed live has replaced it meanwhile.
    async fn with(&self, selector: &str, run: impl AsyncFn(String) -> Value) -> Value {
        loop {
            let element = self.element(selector).await;
            let answer = run(format!("element/{element}")).await;
            if answer["error"] != "stale element reference" {
                assert!(answer["error"].is_null(), "{selector}: {answer}");
                return answer;
            }
        }
    }

    /// Types a text into a field, in place of what stands there.
    pub(super) async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.command(&format!("element/{element}/clear"), json!({})).await;
        let keys = json!({ "text": text });
        self.command(&format!("element/{element}/value"), keys).await;
    }

    /// What people read of something.
    pub(super) async fn text(&self, selector: &str) -> String {
        self.read(selector, "text").await
    }

    /// What an attribute of something says.
    pub(super) async fn attribute(&self, selector: &str, name: &str) -> String {
        self.read(selector, &format!("attribute/{name}")).await
    }

    async fn read(&self, selector: &str, what: &str) -> String {
        let found = self.with(selector, async |element| {
            let request = self.client.get(format!("{}/{element}/{what}", self.session));
            ask(request, &Value::Null).await
        });
        found.await.as_str().unwrap_or_default().to_owned()
    }

    /// The address of the page.
    pub(super) async fn address(&self) -> String {
        self.get("url").await.as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        send(self.client.get(format!("{}/{path}", self.session)), &Value::Null).await
    }

    /// How wide the window is; a phone scrolls and zooms as phones do.
    pub(super) async fn resize(&self, width: u32, height: u32, is_phone: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.chromium("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Whether its user likes it dark.
    pub(super) async fn theme(&self, theme: &str) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": theme },
            // Nothing is on its way from one colour to another when it is looked at.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.chromium("Emulation.setEmulatedMedia", json!({ "features": features }))
            .await;
    }

    /// A picture of the whole page.
    pub(super) async fn picture(&self, file: &Path) {
        let how = json!({ "format": "png", "captureBeyondViewport": true });
        self.capture(file, how).await;
    }

    /// A small picture of what stands in the window.
    pub(super) async fn window(&self, file: &Path) {
        self.capture(file, json!({ "format": "webp", "quality": 80 }))
            .await;
    }

    async fn capture(&self, file: &Path, how: Value) {
        let taken = self.chromium("Page.captureScreenshot", how).await;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(taken["data"].as_str().unwrap())
            .unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}

fn which(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    file.unwrap().display().to_string()
}

async fn send(request: reqwest::RequestBuilder, body: &Value) -> Value {
    let value = ask(request, body).await;
    assert!(value["error"].is_null(), "the browser: {value}");
    value
}

/// The same; the answer may be an error.
async fn ask(request: reqwest::RequestBuilder, body: &Value) -> Value {
    let request = match body {
        Value::Null => request,
        body => request
            .header("Content-Type", "application/json")
            .body(body.to_string()),
    };
    let text = request.send().await.unwrap().text().await.unwrap();
    let mut answer: Value = serde_json::from_str(&text).unwrap();
    answer["value"].take()
}
