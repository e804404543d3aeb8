//! The daemon's own life: start, change, takeover, stop, and what it tells.
//! The data path has its tests in `traffic`.

mod change;
mod confined;
mod life;
mod moved;
mod nics;
mod shortcut;
mod stage;
mod tells;
mod torn;
