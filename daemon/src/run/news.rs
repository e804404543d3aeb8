//! News of NICs and drivers that rtnetlink does not carry: feature bits, ethtool
//! settings, the switch and the health of a NIC.

use std::thread;
use std::time::Duration;

use terrace_offload::ask::Watch;
use tokio::sync::mpsc;

/// A setting brings several notes at once.
const CALM: Duration = Duration::from_millis(100);
/// How long the thread may outlive its reader.
const LOOK: Duration = Duration::from_secs(1);

/// Something may have changed. Without these groups in the kernel nothing ever
/// comes, and links alone tell.
pub fn follow() -> mpsc::Receiver<()> {
    let (send, news) = mpsc::channel(1);
    let spawned = thread::Builder::new()
        .name("terrace-news".into())
        .spawn(move || run(&send));
    if let Err(error) = spawned {
        tracing::warn!("no news of NICs: {error}");
    }
    news
}

fn run(send: &mpsc::Sender<()>) {
    let watch = match Watch::of_devices() {
        Ok(watch) => watch,
        Err(error) => return tracing::warn!("no news of NICs: {error}"),
    };
    while !send.is_closed() {
        match watch.wait(CALM, Some(LOOK)) {
            Ok(false) => {}
            Ok(true) => {
                // A full channel has told already.
                let _ = send.try_send(());
            }
            Err(error) => return tracing::warn!("no more news of NICs: {error}"),
        }
    }
}
