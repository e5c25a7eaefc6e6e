package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A source that is deleted and created again while its target is away goes on where it was, and so
// does a target under another name: each line arrives, those that were written in between as well, and what had arrived is not sent again.
func TestWhatIsCreatedAgainGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	c, n, _, loki := alone(t)
	a, log := n.as("admin"), filepath.Join(c.logs, "app.log")
	door := startFront(t, strings.TrimPrefix(loki.url, "http://"))
	target := map[string]any{"name": "loki", "loki": map[string]any{"url": "http://" + door.address, "batchWait": "50ms"}}
	a.must("PUT", "/targets/loki", target)
	a.change("/sources/app", map[string]any{"minLevel": "trace"})
	load := startLoad(t, log)
	grows := func(what string) {
		t.Helper()
		size := func() int64 {
			info, err := os.Stat(log)
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		had := size()
		await(t, "lines "+what, func() bool { return size() > had+4000 })
	}
	await(t, "lines in Loki", func() bool { return loki.different("alone") > 20 })
	door.lead("")
	door.cut()
	grows("while the target is away")
	var source any
	if err := json.Unmarshal([]byte(a.must("GET", "/sources/app?defaults=false", nil)), &source); err != nil {
		t.Fatal(err)
	}
	a.must("DELETE", "/sources/app", nil)
	await(t, "the source to be gone", func() bool { st := n.status(); return st.sources() == "" })
	grows("while there is no source")
	a.must("POST", "/sources", source)
	await(t, "the source to be back", func() bool { st := n.status(); return st.sources() == "app" })
	grows("while the source is back")
	target["name"] = "renamed"
	a.must("POST", "/apply?prune=true", map[string]any{"targets": []any{target}})
	await(t, "the target to be renamed", func() bool { st := n.status(); return st.targets() == "renamed" })
	grows("while it has another name")
	door.lead(strings.TrimPrefix(loki.url, "http://"))
	total := load.stop()
	await(t, "every line", func() bool { return loki.different("alone") == total })
	// What Loki had taken when it was cut off, and had no time to say so, comes again: a Loki drops it.
	if again := loki.doubled("alone"); again > 60 {
		t.Errorf("of %d lines %d came again", total, again)
	}
	for _, row := range n.status().Ledger {
		if row.Difference != 0 {
			t.Errorf("the ledger does not add up: %+v", row)
		}
	}
}
