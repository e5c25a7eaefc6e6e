package pipeline

import (
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
)

// A mark of a clock that ran ahead and was set right since does not hide what came since.
func TestMarkOfAClockThatWasSetBack(t *testing.T) {
	begin := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(clock, up time.Duration, id string) boot {
		return boot{id: id, now: begin.Add(clock), uptime: int64(up)}
	}
	ahead := string(markOf(begin.Add(24*time.Hour), at(24*time.Hour+time.Second, time.Hour, "a")))
	for _, c := range []struct {
		name string
		mark string
		now  boot
		want time.Duration // since begin
	}{
		{"clock as it was", ahead, at(25*time.Hour, 2*time.Hour-time.Second, "a"), 24 * time.Hour},
		{"set back by a day", ahead, at(10*time.Second, time.Hour+10*time.Second, "a"), -time.Second},
		{"set back by a day, two days ago", ahead, at(48*time.Hour, 49*time.Hour, "a"), -time.Second},
		{"set on", ahead, at(90*time.Hour, 2*time.Hour, "a"), 24 * time.Hour},
		{"set back, and booted", ahead, at(10*time.Second, 4*time.Second, "b"), 6 * time.Second},
		{"booted", ahead, at(30*time.Hour, time.Minute, "b"), 24 * time.Hour},
		{"of a former version", "left:" + ahead[len("left:"):len("left:")+19], at(10*time.Second, 4*time.Second, "a"), 6 * time.Second},
		{"of a former version, not ahead", "left:" + ahead[len("left:"):len("left:")+19], at(25*time.Hour, time.Second, "a"), 24 * time.Hour},
	} {
		m, ok := parseMark(record.Position(c.mark))
		if got := m.here(c.now).Sub(begin); !ok || got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for _, bad := range []string{"", "seen", "left:", "left:x", "left:1x:2:a"} {
		if m, ok := parseMark(record.Position(bad)); ok {
			t.Errorf("%q is the mark %+v", bad, m)
		}
	}
}

// What a source is told was saved by such a clock lies before all that is created from now on.
func TestSourceIsToldOfNoSaveInTheFuture(t *testing.T) {
	h := newHouse(t)
	h.open()
	defer h.stop(time.Second)
	ahead := thisBoot()
	ahead.now = ahead.now.Add(time.Hour)
	for _, text := range []record.Position{markOf(ahead.now, ahead), markOf(ahead.now, boot{now: ahead.now})} {
		h.store.Set(positions.Key{Source: "app"}, text)
		if at := h.sup.lastSaved("app"); at.IsZero() || at.After(time.Now()) {
			t.Errorf("marked %s: last saved at %v", text, at)
		}
	}
}
