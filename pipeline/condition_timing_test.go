package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// What is looked at each second, beside what is looked at when there is news.
func BenchmarkCondition(b *testing.B) {
	var rejected []config.Rejected
	for i := range 10 {
		rejected = append(rejected, config.Rejected{Kind: config.KindTarget, Name: fmt.Sprint("t", i), Reason: strings.Repeat("why ", 20)})
	}
	h := newHouse(&testing.T{})
	h.dir = b.TempDir()
	h.tapes["app"] = newTape()
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprint("t", i))
		h.shelves[names[i]] = newShelf()
	}
	h.open()
	if err := h.sup.ApplyEvent(config.Event{Config: simpleConfig("app", names...), Rejected: rejected}); err != nil {
		b.Fatal(err)
	}
	b.Run("Condition", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.sup.Condition()
		}
	})
	b.Run("Status", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.sup.Status()
		}
	})
	h.stop(time.Minute)
}
