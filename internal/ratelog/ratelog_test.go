package ratelog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneCauseSpeaksOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(New(slog.NewTextHandler(&out, nil), time.Minute))
		loki, siem := log.With("target", "loki"), log.With("target", "siem")
		for i := range 10 {
			loki.Error("send failed", "class", "connect", "error", errors.New(fmt.Sprint(i)))
		}
		siem.Error("send failed", "class", "connect")
		loki.Error("send failed", "class", "tls")
		if n := strings.Count(out.String(), "\n"); n != 3 {
			t.Fatalf("%d lines, want 3 (one per cause):\n%s", n, &out)
		}
		time.Sleep(time.Minute)
		out.Reset()
		loki.Error("send failed", "class", "connect")
		if !strings.Contains(out.String(), "silenced=9") {
			t.Errorf("got %s, want silenced=9", &out)
		}
		out.Reset()
		for range 3 {
			log.Info("hello")
		}
		if n := strings.Count(out.String(), "hello"); n != 3 {
			t.Errorf("info was said %d times, want 3", n)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	h := New(slog.DiscardHandler, time.Hour)
	s := h.state
	for i := range 3 * maxCauses {
		s.pass(fmt.Sprint(i), time.Unix(0, 0))
	}
	if len(s.causes) > maxCauses {
		t.Errorf("%d causes remembered, limit %d", len(s.causes), maxCauses)
	}
}
