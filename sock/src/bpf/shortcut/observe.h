/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Run by the daemon: what waits unread between joined sockets, and pairs whose
 * sockets are gone without having said so.
 */
#ifndef TERRACE_SHORTCUT_OBSERVE_H
#define TERRACE_SHORTCUT_OBSERVE_H

#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include "maps.h"

#endif
