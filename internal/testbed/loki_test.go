package testbed

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func pushJSON(t *testing.T, l *Loki, body string) {
	t.Helper()
	res, err := http.Post(l.URL+"/loki/api/v1/push", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Fatalf("push: HTTP %d", res.StatusCode)
	}
}

// More lines than a page, many of one time, are all read back, also after
// Loki was killed.
func TestLokiReadsBackInPages(t *testing.T) {
	l := StartLoki(t, LokiOptions{})
	const lines = lokiPage + 5000
	now := time.Now().Add(-time.Minute).UnixNano()
	var b strings.Builder
	for i := range lines {
		if i > 0 {
			b.WriteByte(',')
		}
		at := now + int64(i/100)
		fmt.Fprintf(&b, `["%d", "line %d", {"n": "%d"}]`, at, i, i)
	}
	pushJSON(t, l, `{"streams": [{"stream": {"source": "b"}, "values": [`+b.String()+`]}]}`)
	for range 2 {
		got := l.Query(t, LokiQuery{Query: `{source="b"}`})
		seen := map[string]bool{}
		for i, e := range got {
			if i > 0 && e.Time < got[i-1].Time {
				t.Fatalf("entry %d is older than the one before", i)
			}
			if e.Metadata["n"] == "" || e.LabelText() != `{source="b"}` {
				t.Fatalf("entry %+v has no metadata or other labels", e)
			}
			seen[e.Line] = true
		}
		if len(got) != lines || len(seen) != lines {
			t.Fatalf("read %d lines, %d of them different", len(got), len(seen))
		}
		l.Kill()
		l.Start()
	}
}

func TestLokiBinaryIsCached(t *testing.T) {
	if os.Getenv(LokiGate) != "1" {
		t.Skipf("set %s=1: it builds Loki if it is missing", LokiGate)
	}
	path, err := LokiBinary()
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode()&0o100 == 0 {
		t.Fatalf("%s: %v, not a program", path, err)
	}
}
