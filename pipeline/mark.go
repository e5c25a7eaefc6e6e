package pipeline

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
)

// left marks, in the entry of a source, since when nobody watches it. What it has behind it is
//
//	mark   = "left:" time [ ":" uptime ":" boot ]
//	time   = Unix nanoseconds, by the clock of the file system
//	uptime = how long the machine was up then, in nanoseconds; below 0 before it was booted
//	boot   = the kernel's id of that boot
const left = "left:"

// watchMark is a mark taken apart.
type watchMark struct {
	at     int64
	uptime int64
	boot   string // "": not known
}

// boot is what the clocks say, and of which boot.
type boot struct {
	id     string
	now    time.Time
	uptime int64 // ns
}

func thisBoot() boot {
	b := boot{now: time.Now()}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME, &ts) == nil {
		b.now = time.Unix(ts.Unix()) // files have their births from this clock
	}
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil {
		b.uptime = ts.Nano()
	}
	b.id = bootID()
	return b
}

// bootID is the kernel's, "" where it tells none.
var bootID = sync.OnceValue(func() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
})

// markOf is the mark of a source that was watched up to since.
func markOf(since time.Time, b boot) record.Position {
	text := left + strconv.FormatInt(since.UnixNano(), 10)
	if b.id != "" {
		text += fmt.Sprintf(":%d:%s", b.uptime-int64(b.now.Sub(since)), b.id)
	}
	return record.Position(text)
}

func parseMark(mark record.Position) (m watchMark, ok bool) {
	text, ok := strings.CutPrefix(string(mark), left)
	if !ok {
		return m, false
	}
	at, rest, _ := strings.Cut(text, ":")
	uptime, id, _ := strings.Cut(rest, ":")
	var err error
	if m.at, err = strconv.ParseInt(at, 10, 64); err != nil {
		return m, false
	}
	if m.uptime, err = strconv.ParseInt(uptime, 10, 64); err == nil {
		m.boot = id
	}
	return m, true
}

// here is the time of the mark by the clock as it is now, which may have been set back since: taken as
// it was, the mark would hide all that came from then on. While the machine was not booted, what the mark was by
// this clock is known; else one that lies ahead is only known to be from before that.
func (m watchMark) here(b boot) time.Time {
	at, then := time.Unix(0, m.at), b.now.Add(-time.Duration(b.uptime))
	if m.boot != "" && m.boot == b.id {
		then = then.Add(time.Duration(m.uptime))
	} else if !at.After(b.now) {
		return at
	}
	if at.Sub(then) < time.Second {
		return at // the clocks are not read at once, and what was born within a second is looked at anyway
	}
	return then
}
