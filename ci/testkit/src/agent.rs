//! A Python process in a namespace and a cgroup that does what it is told: a
//! real program with real sockets, without a new process for each step.

use crate::{Cgroup, Error, Netns, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Reads the length of a script, then the script; answers with a line: `ok` and
/// what the script left in `result` as JSON, or `error` and the exception.
const LOOP: &str = r#"
import sys, json, socket, struct, os, errno, threading, time, select
space = dict(globals())
def plain(value):
    if isinstance(value, bytes):
        return value.decode('latin1')
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
while True:
    head = sys.stdin.buffer.readline()
    if not head:
        break
    code = sys.stdin.buffer.read(int(head))
    space['result'] = None
    try:
        exec(code, space)
        print('ok', json.dumps(plain(space['result'])), flush=True)
    except OSError as e:
        print('error', errno.errorcode.get(e.errno, type(e).__name__), flush=True)
    except Exception as e:
        print('error', repr(e).replace('\n', ' '), flush=True)
"#;

/// A Python that runs scripts; killed on drop.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Agent {
    pub fn start(ns: &Netns, cgroup: Option<&Cgroup>) -> Result<Self> {
        Self::start_as(ns, cgroup, &[])
    }

    /// Through another program that starts it, such as `setpriv --reuid 1337`.
    pub fn start_as(ns: &Netns, cgroup: Option<&Cgroup>, by: &[&str]) -> Result<Self> {
        let words = [by, &["/usr/bin/python3", "-I", "-c", LOOP]].concat();
        let mut command = match cgroup {
            Some(cgroup) => cgroup.command(words[0]),
            None => Command::new(words[0]),
        };
        command.args(&words[1..]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = ns.enter(|| command.spawn())?;
        let mut child = started.map_err(Error::io("start python3"))?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a script; what it left in `result`, as JSON, or `!` and the name of
    /// the errno or the exception.
    pub fn run(&mut self, script: &str) -> String {
        match self.ask(script) {
            Ok(line) => line,
            Err(error) => format!("! the agent is gone: {error}"),
        }
    }

    fn ask(&mut self, script: &str) -> std::io::Result<String> {
        let text = format!("{}\n{script}", script.len());
        self.stdin.write_all(text.as_bytes())?;
        self.stdin.flush()?;
        let mut line = String::new();
        self.stdout.by_ref().read_line(&mut line)?;
        let line = line.trim_end();
        Ok(match line.split_once(' ') {
            Some(("ok", json)) => json.to_owned(),
            Some(("error", what)) => format!("!{what}"),
            _ => format!("! no answer: {line:?}"),
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
