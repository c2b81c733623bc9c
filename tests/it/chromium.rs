//! A real browser, driven over the pipe of its DevTools protocol: nothing is installed beside it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::clients::installed;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

type Answers = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;
type Events = Arc<Mutex<Vec<Value>>>;

/// The contrast of every text with what is behind it (WCAG 2, level AA), what sticks out, and whether
/// whatever can be pressed is large enough for a thumb.
pub(crate) const LEGIBLE: &str = r"(() => {
  const light = (rgb) => { const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const behind = (it) => { for (; it; it = it.parentElement) { const c = numbers(getComputedStyle(it).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const wrong = [];
  for (const it of document.querySelectorAll('body *')) {
    const box = it.getBoundingClientRect();
    if (!box.width || !it.checkVisibility() || it.closest('.unseen, .skip') || it.closest('svg')) continue;
    if (box.right > innerWidth + 1) wrong.push('sticks out: ' + it.outerHTML.slice(0, 90));
    if (it.matches('button, a.button, input:not([type]), summary') && box.height < 44) wrong.push('small: ' + it.outerHTML.slice(0, 90));
    const says = '.note, .say, .ways, .lines, .refusal, .alarm, .grave', before = it.previousElementSibling;
    if (it.parentElement.matches('main, section') && it.matches(says) && before?.matches(says) && box.top - before.getBoundingClientRect().bottom < 8 && box.top >= before.getBoundingClientRect().bottom - 1)
      wrong.push('touches: ' + it.outerHTML.slice(0, 90));
    const own = [...it.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || it.matches('.unseen, script, style')) continue;
    const style = getComputedStyle(it);
    const [a, b] = [light(numbers(style.color).slice(0, 3)), light(behind(it))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) wrong.push(ratio.toFixed(2) + ': ' + it.outerHTML.slice(0, 90));
  }
  return wrong;
})()";

/// A browser without a window, with a profile of its own; it ends when this is dropped.
pub(crate) struct Chromium {
    process: Child,
    pipe: Arc<Mutex<ChildStdin>>,
    last: Arc<AtomicU64>,
    answers: Answers,
    events: Events,
    _profile: tempfile::TempDir,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Chromium {
    /// Starts one. To it every host under `.test` is this machine.
    pub(crate) fn start() -> Chromium {
        let profile = tempfile::tempdir().expect("a temporary folder");
        // The protocol is spoken on the descriptors 3 and 4: what we hold as its input and output.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program())
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args(["--hide-scrollbars", "--remote-debugging-pipe"])
            .args(["--host-resolver-rules=MAP *.test 127.0.0.1", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let pipe = process.stdin.take().expect("it is piped");
        let (answers, events) = (Answers::default(), Events::default());
        let (waiting, seen) = (Arc::clone(&answers), Arc::clone(&events));
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let said: Value = serde_json::from_slice(&message).expect("the protocol is JSON");
                message.clear();
                match said["id"].as_u64() {
                    Some(id) => {
                        let asked = waiting.lock().expect("no test panics here").remove(&id);
                        // Whoever asked may have given up.
                        let _ = asked.map(|asked| asked.send(said));
                    }
                    None => seen.lock().expect("no test panics here").push(said),
                }
            }
        });
        let (pipe, last) = (Arc::new(Mutex::new(pipe)), Arc::default());
        Chromium { process, pipe, last, answers, events, _profile: profile }
    }

    async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self.ask(session, method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The same, or the browser's error.
    async fn ask(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        self.answers.lock().expect("no test panics here").insert(id, sender);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        {
            let mut pipe = self.pipe.lock().expect("no test panics here");
            pipe.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
            pipe.flush().expect("the browser listens");
        }
        let said = tokio::time::timeout(PATIENCE, answer).await;
        let mut said = said.unwrap_or_else(|_| panic!("{method} took too long")).expect("the browser runs");
        if said["error"].is_null() { Ok(said["result"].take()) } else { Err(said["error"].take()) }
    }

    /// A new tab with cookies and storage of its own.
    pub(crate) async fn tab(&self) -> Tab<'_> {
        let apart = self.call(None, "Target.createBrowserContext", json!({})).await;
        let context = apart["browserContextId"].clone();
        let made = json!({ "url": "about:blank", "browserContextId": context });
        let target = self.call(None, "Target.createTarget", made).await["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = self.call(None, "Target.attachToTarget", attach).await["sessionId"].clone();
        let tab = Tab { browser: self, session: session.as_str().expect("a session").to_owned() };
        for domain in ["Page", "Network", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        tab
    }
}

/// One tab.
pub(crate) struct Tab<'b> {
    browser: &'b Chromium,
    session: String,
}

impl Tab<'_> {
    /// A command of the protocol, to this tab.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.browser.call(Some(&self.session), method, params).await
    }

    /// The size of the window and whether it is dark.
    pub(crate) async fn looks(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640 });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Has `script` run before every page's own.
    pub(crate) async fn before_each(&self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    /// Opens `url` and waits until it stands, also when it is the page that stands there already.
    pub(crate) async fn open(&self, url: &str) {
        self.value("window.isLeft = true").await;
        let opened = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        // Within one page nothing is loaded.
        let arrived = if opened["loaderId"].is_null() { "true" } else { "!window.isLeft" };
        self.until(arrived).await;
    }

    /// The value of an expression; of a promise, what it comes to.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.told_of(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The same, or why the browser cannot say it, such as that it is on its way to another page.
    async fn told_of(&self, expression: &str) -> Result<Value, Value> {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let told = self.browser.ask(Some(&self.session), "Runtime.evaluate", asked).await?;
        assert!(told["exceptionDetails"].is_null(), "{expression}: {told}");
        Ok(told["result"]["value"].clone())
    }

    /// The text of the first element that `selector` finds, once the page stands.
    pub(crate) async fn text(&self, selector: &str) -> String {
        self.until("true").await;
        let text = self.value(&format!("document.querySelector({})?.innerText", json!(selector))).await;
        text.as_str().unwrap_or_else(|| panic!("there is no {selector}")).to_owned()
    }

    /// Waits until a page stands whole and an expression is true, through reloads too.
    pub(crate) async fn until(&self, expression: &str) {
        let whole = format!("document.readyState === 'complete' && !!({expression})");
        let look = async {
            while self.told_of(&whole).await != Ok(json!(true)) {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, look).await.is_err() {
            let page = self.value("document.body.innerText").await;
            panic!("it did not come to `{expression}`:\n{}", page.as_str().unwrap_or_default());
        }
    }

    /// Clicks as a person does, wherever it is, once it is there; a field that did not take the focus again.
    pub(crate) async fn click(&self, selector: &str) {
        let it = format!("document.querySelector({})", json!(selector));
        self.until(&it).await;
        let takes = format!(
            "{it}.matches('input:not([type=checkbox]):not([type=radio]):not([type=submit]):not([type=file]), textarea')"
        );
        let is_field = self.value(&takes).await == json!(true);
        let looks = async {
            loop {
                self.press_on(&it).await;
                for _ in 0..40 {
                    if !is_field
                        || self.told_of(&format!("document.activeElement === {it}")).await == Ok(json!(true))
                    {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, looks).await.unwrap_or_else(|_| panic!("{selector} takes no focus"));
    }

    async fn press_on(&self, it: &str) {
        let place = self
            .value(&format!(
                "(() => {{ const it = {it}; it.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                 const box = it.getBoundingClientRect();
                 return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
            ))
            .await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types into what has the focus.
    pub(crate) async fn types(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses a key: `Tab`, `Enter`, `Escape`, `ArrowDown`.
    pub(crate) async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowDown" => (40, ""),
            other => panic!("no code for {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
                "text": if kind == "keyDown" { text } else { "" } });
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// The whole page as a picture in `target/screens`.
    pub(crate) async fn picture(&self, name: &str) {
        let asked = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.call("Page.captureScreenshot", asked).await;
        let png = BASE64_STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screens");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), png).expect("a file");
    }

    /// What axe-core finds that keeps somebody from using the page: serious and critical findings.
    pub(crate) async fn accessible(&self) -> Value {
        static AXE: LazyLock<String> = LazyLock::new(|| {
            let file = installed().join("node_modules/axe-core/axe.min.js");
            std::fs::read_to_string(file).expect("scripts/clients brings axe-core")
        });
        if self.value("typeof axe").await == "undefined" {
            self.value(&format!("{{ {}; 0 }}", *AXE)).await;
        }
        let found = "axe.run().then((told) => told.violations.filter((it) => ['serious', 'critical'].includes(it.impact))
            .map((it) => it.id + ': ' + it.nodes.map((node) => node.html.slice(0, 120)).join(' | ')))";
        self.value(found).await
    }

    fn told(&self, method: &str) -> Vec<Value> {
        let events = self.browser.events.lock().expect("no test panics here");
        let own = |event: &&Value| event["sessionId"] == *self.session && event["method"] == method;
        events.iter().filter(own).map(|event| event["params"].clone()).collect()
    }

    /// The address of everything that was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        let requests = self.told("Network.requestWillBeSent");
        requests.iter().filter_map(|event| event["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    /// Keeps nothing of what it loads: every page comes whole, as on a first visit.
    pub(crate) async fn keeps_nothing(&self) {
        self.call("Network.setCacheDisabled", json!({ "cacheDisabled": true })).await;
    }

    /// What came over the wire for the page that stands, heads included, in bytes.
    pub(crate) async fn weight(&self) -> u64 {
        self.value("document.fonts.ready.then(() => 1)").await;
        let loader = self.call("Page.getFrameTree", json!({})).await["frameTree"]["frame"]["loaderId"].take();
        let sent = self.told("Network.requestWillBeSent").into_iter();
        let own: Vec<Value> = sent
            .filter(|event| event["loaderId"] == loader)
            .map(|mut event| event["requestId"].take())
            .collect();
        let finished = self.told("Network.loadingFinished").into_iter();
        let of_it = finished.filter(|event| own.contains(&event["requestId"]));
        of_it.map(|event| event["encodedDataLength"].as_u64().expect("whole bytes")).sum()
    }

    /// What the browser complains of: scripts that fail, and what the page's policy forbids. That an
    /// answer was a 402 is no complaint.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let thrown = self.told("Runtime.exceptionThrown").into_iter().map(|event| event.to_string());
        let logged = self.told("Log.entryAdded").into_iter().filter(|event| {
            let entry = &event["entry"];
            entry["level"] == "error" && entry["source"] != "network"
        });
        thrown.chain(logged.map(|event| event.to_string())).collect()
    }
}

/// `$CHROMIUM_EXE`, else one on `PATH`.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("CHROMIUM_EXE") {
        return named.into();
    }
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let names = ["chromium", "google-chrome-stable", "google-chrome", "chromium-browser"];
    on_path
        .into_iter()
        .flatten()
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
        .expect("this test needs a real Chromium: run scripts/chromium once, or name one in CHROMIUM_EXE")
}
