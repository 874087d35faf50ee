//! Where the tests of the data commands run: a folder, a cache and a server of their own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::program::{failed, repro, text};

/// A folder for one test, with a cache of its own.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The cache's folder of a set.
    pub(crate) fn cached(&self, set: &str) -> PathBuf {
        self.path("cache").join("rescom/data").join(set)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = repro(args);
        command.current_dir(self.0.path()).env("XDG_CACHE_HOME", self.path("cache"));
        // Neither the web nor a package manager.
        command.env("PATH", self.path("no-programs"));
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            command.env(name, "http://127.0.0.1:9");
        }
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The only error line of a command that must fail with this code.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let stderr = failed(&self.run(args), code);
        stderr.lines().find(|line| line.starts_with("error:")).unwrap().to_owned()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.succeeds(args)).unwrap()
    }

    /// A generated set in CIFAR-10's format: 40 training and 4 test images per class.
    pub(crate) fn synthesize(&self, name: &str) {
        self.succeeds(&["data", "synthesize", "--out", name, "--train", "40", "--test", "4"]);
    }

    /// A manifest of it at factor 4.
    pub(crate) fn manifest(&self, name: &str, extra: &[&str]) {
        let args = [
            "subset",
            "make",
            "--dataset",
            "cifar10",
            "--data",
            "set",
            "--unverified",
            "--imb",
            "4",
        ];
        self.succeeds(&[&args[..], &["--out", name], extra].concat());
    }

    /// A folder of idx files with 30 training and 20 test images.
    pub(crate) fn idx(&self, name: &str, label: u8) {
        fs::create_dir_all(self.path(name)).unwrap();
        for (stem, count) in [("train", 30u32), ("t10k", 20)] {
            let mut images = [0, 0, 8, 3].to_vec();
            images.extend([count, 28, 28].iter().flat_map(|n| n.to_be_bytes()));
            images.extend((0..count * 784).map(|i| (i % 251) as u8));
            let mut labels = [0, 0, 8, 1].to_vec();
            labels.extend(count.to_be_bytes());
            labels.extend((0..count).map(|i| (i % u32::from(label)) as u8));
            let folder = self.path(name);
            fs::write(folder.join(format!("{stem}-images-idx3-ubyte")), images).unwrap();
            fs::write(folder.join(format!("{stem}-labels-idx1-ubyte")), labels).unwrap();
        }
    }
}

/// Answers every request with `content`; returns the address and the paths asked for so far.
pub(crate) fn serve(content: &'static [u8]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(std::io::Result::ok) {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> =
                lines.map_while(std::io::Result::ok).take_while(|line| !line.is_empty()).collect();
            let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
            log.lock().unwrap().push(path.to_owned());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            let _ = stream.write_all(&[answer.as_bytes(), content].concat());
        }
    });
    (url, asked)
}

/// Names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
