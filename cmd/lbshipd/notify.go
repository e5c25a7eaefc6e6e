package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/pipeline"
)

// statusEvery is how often systemd is told how it goes.
const statusEvery = 10 * time.Second

// notifier tells the service manager what the daemon is doing (sd_notify(3)).
// Without NOTIFY_SOCKET it does nothing.
type notifier struct{ log *slog.Logger }

func (n notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("telling the service manager failed", "error", err)
	}
}

func (n notifier) ready(st pipeline.Status) { n.send(daemon.SdNotifyReady + "\n" + status(st)) }
func (n notifier) stopping() {
	n.send(daemon.SdNotifyStopping + "\nSTATUS=stopping: sending what is queued")
}

// reloading must be followed by ready.
func (n notifier) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.log.Warn("reading the monotonic clock failed", "error", err)
	}
	n.send(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// status is the line that systemctl status shows.
func status(st pipeline.Status) string {
	text := screen.Count(len(st.Sources), "source") + ", " + screen.Count(len(st.Targets), "target")
	failing, behind := 0, 0
	for _, t := range st.Targets {
		if t.Err != nil {
			failing++
		}
		if t.Behind > 0 {
			behind++
		}
	}
	if failing > 0 {
		text += fmt.Sprintf(", %d failing", failing)
	}
	if behind > 0 {
		text += fmt.Sprintf(", %d behind", behind)
	}
	if st.Refused != nil {
		text += ", newest configuration refused"
	}
	return "STATUS=" + text
}

// run sends the status line, and the watchdog's sign of life as long as the
// supervisor answers, until ctx ends.
func (n notifier) run(ctx context.Context, sup *pipeline.Supervisor) {
	every := statusEvery
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("the service manager's watchdog setting is unusable", "error", err)
	}
	if interval > 0 {
		every = min(every, interval/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			state := status(sup.Status())
			if interval > 0 {
				state += "\n" + daemon.SdNotifyWatchdog
			}
			n.send(state)
		}
	}
}
