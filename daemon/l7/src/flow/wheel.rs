//! Timers: a wheel of lists through the flows, one timer a flow.

use super::FlowId;

/// Milliseconds of a slot, and slots: timers further away are met again.
const SLOT_MS: u64 = 4;
const N_SLOTS: usize = 1024;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub struct Wheel {
    heads: Vec<u32>,
    links: Vec<Link>,
    /// The slot that is looked at next, as a count from time 0.
    at: u64,
    n_set: usize,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
    slot: u32,
    /// `u64::MAX` = not set.
    due: u64,
}

impl Wheel {
    pub fn new(n_flows: usize) -> Self {
        let unset = Link {
            next: NONE,
            previous: NONE,
            slot: 0,
            due: u64::MAX,
        };
        Self {
            heads: vec![NONE; N_SLOTS],
            links: vec![unset; n_flows],
            at: 0,
            n_set: 0,
        }
    }

    pub fn set(&mut self, id: FlowId, due: u64) {
        if self.links[id as usize].due == due {
            return;
        }
        self.cancel(id);
        let slot = self.slot(due);
        let next = std::mem::replace(&mut self.heads[slot], id);
        if next != NONE {
            self.links[next as usize].previous = id;
        }
        self.links[id as usize] = Link {
            next,
            previous: NONE,
            slot: slot as u32,
            due,
        };
        self.n_set += 1;
    }

    pub fn cancel(&mut self, id: FlowId) {
        let link = self.links[id as usize];
        if link.due == u64::MAX {
            return;
        }
        match link.previous {
            NONE => self.heads[link.slot as usize] = link.next,
            previous => self.links[previous as usize].next = link.next,
        }
        if link.next != NONE {
            self.links[link.next as usize].previous = link.previous;
        }
        self.links[id as usize].due = u64::MAX;
        self.n_set -= 1;
    }

    /// The slot of a time; what is overdue goes where the wheel looks next.
    fn slot(&self, due: u64) -> usize {
        ((due / SLOT_MS).max(self.at) as usize) % N_SLOTS
    }

    /// A flow whose time has come; its timer is not set any more.
    pub fn due(&mut self, now: u64) -> Option<FlowId> {
        if self.n_set == 0 {
            self.at = self.at.max(now / SLOT_MS);
            return None;
        }
        // After a long silence one round sees everything.
        self.at = self.at.max((now / SLOT_MS).saturating_sub(N_SLOTS as u64));
        while self.at <= now / SLOT_MS {
            let mut id = self.heads[self.at as usize % N_SLOTS];
            while id != NONE {
                let link = self.links[id as usize];
                if link.due <= now {
                    self.cancel(id);
                    return Some(id);
                }
                id = link.next;
            }
            if self.at == now / SLOT_MS {
                return None;
            }
            self.at += 1;
        }
        None
    }

    /// The end of the next slot that has something, `None` when nothing is set.
    pub fn next(&self) -> Option<u64> {
        if self.n_set == 0 {
            return None;
        }
        let slots = self.at..self.at + N_SLOTS as u64;
        let mut used = slots.filter(|slot| self.heads[*slot as usize % N_SLOTS] != NONE);
        used.next().map(|slot| (slot + 1) * SLOT_MS)
    }
}
