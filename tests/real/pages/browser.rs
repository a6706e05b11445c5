//! The page in a real browser, where there is one: headless Chromium opens it and clicks through it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::runs::{RUNS, Workplace};

const CLICKS: &str = include_str!("click.js");

/// Chromium, if it can be found.
fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = env::var_os("PATH")?;
    env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file())
}

#[test]
fn a_browser_opens_the_page_and_clicks_through_it() {
    let Some(chromium) = chromium() else {
        eprintln!("NOT RUN: there is no Chromium on the PATH (on Debian: apt-get install chromium)");
        return;
    };
    let place = Workplace::new();
    for run in RUNS {
        place.record(run, "storm.jsonl");
        place.kadring("trace storm.jsonl --html page.html");
        let page = place.read("page.html").replace("</body>", &format!("<script>{CLICKS}</script></body>"));
        place.write("clicked.html", &page);
        let output = Command::new(&chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--window-size=1400,900",
                "--virtual-time-budget=30000",
            ])
            .arg(format!("--user-data-dir={}", place.path("profile").display()))
            .arg("--dump-dom")
            .arg(format!("file://{}", place.path("clicked.html").display()))
            .output()
            .expect("it starts");
        let dom = String::from_utf8_lossy(&output.stdout);
        let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
        let title = title.map_or("no page", |(title, _)| title);
        assert_eq!(title, "clicked through", "{run}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
