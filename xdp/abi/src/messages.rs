//! What libbpf has to say: the verifier's log, and the text (extack) with
//! which a driver refuses. libbpf prints both and returns only an errno.

use std::cell::RefCell;
use std::sync::{Mutex, Once};

use libbpf_rs::{PrintCallback, PrintLevel};

thread_local! {
    static CAPTURED: RefCell<Option<String>> = const { RefCell::new(None) };
}

type Printer = Option<(PrintLevel, PrintCallback)>;
static PREVIOUS: Mutex<Printer> = Mutex::new(None);
static INSTALL: Once = Once::new();

/// Runs `work` and returns what libbpf printed meanwhile on this thread. Other
/// threads print where they did before.
pub fn capture<T>(work: impl FnOnce() -> T) -> (T, String) {
    INSTALL.call_once(|| {
        let previous = libbpf_rs::set_print(Some((PrintLevel::Info, print)));
        *PREVIOUS.lock().unwrap_or_else(|poison| poison.into_inner()) = previous;
    });
    let outer = CAPTURED.replace(Some(String::new()));
    let value = work();
    let text = CAPTURED.replace(outer).unwrap_or_default();
    (value, text)
}

fn print(level: PrintLevel, text: String) {
    let rest = CAPTURED.with_borrow_mut(|captured| match captured {
        Some(captured) => {
            captured.push_str(&text);
            None
        }
        None => Some(text),
    });
    let previous = *PREVIOUS.lock().unwrap_or_else(|poison| poison.into_inner());
    if let (Some(text), Some((_, print))) = (rest, previous) {
        print(level, text);
    }
}

/// The kernel's words in a captured text: "libbpf: Kernel error message: ...".
pub fn extack(captured: &str) -> Option<String> {
    let marker = "Kernel error message: ";
    let line = captured.lines().find_map(|line| line.split_once(marker))?;
    Some(line.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::extack;

    #[test]
    fn the_kernels_words_are_found_among_libbpfs() {
        let rows = [
            (
                "libbpf: Kernel error message: Peer MTU is too large\n",
                Some("Peer MTU is too large"),
            ),
            (
                "libbpf: a\nlibbpf: Kernel error message: no\nlibbpf: b\n",
                Some("no"),
            ),
            ("libbpf: something else\n", None),
        ];
        for (text, expected) in rows {
            assert_eq!(extack(text).as_deref(), expected, "{text}");
        }
    }
}
