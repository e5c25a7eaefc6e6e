package journald

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// journald says at its start which limits it works with: ours are the same.
func TestLimitsAreThoseThatJournaldNames(t *testing.T) {
	t.Parallel()
	for name, conf := range map[string][]string{
		"defaults":     nil,
		"max use":      {"SystemMaxUse=40M"},
		"two terms":    {"SystemMaxUse=1G 512M", "SystemKeepFree=0.5G"},
		"tiny":         {"SystemMaxUse=1"},
		"file size":    {"SystemMaxUse=8M", "SystemMaxFileSize=6M"},
		"keep all":     {"SystemKeepFree=7E"},
		"garbage":      {"SystemMaxUse=a lot", "SystemKeepFree=-1", "SystemMaxUse=24M ", " SystemKeepFree = 2M"},
		"other prefix": {"RuntimeMaxUse=3M", "#SystemMaxUse=1M", "[Other]", "SystemMaxUse=5M"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := testbed.StartJournald(t, conf...)
			j.Sync(t)
			var said *exported
			for _, e := range parseExport(t, journalctl(t, "-D", j.Dir, "-o", "export", "MESSAGE_ID=ec387f577b844b8fa948f33cad9a75e6")) {
				said = &e
			}
			if said == nil {
				t.Fatal("journald did not say what it uses")
			}
			number := func(field string) int64 {
				text, _ := said.get(field)
				n, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					t.Fatalf("%s: %v", field, err)
				}
				return n
			}
			size, _, err := space(j.Dir)
			if err != nil {
				t.Fatal(err)
			}
			l := limitsOf(readKeeping(systemDirs, j.Name, "System"), size)
			if l.maxUse != number("MAX_USE") || l.keepFree != number("DISK_KEEP_FREE") {
				t.Errorf("maxUse %d, keepFree %d; journald says %d and %d", l.maxUse, l.keepFree, number("MAX_USE"), number("DISK_KEEP_FREE"))
			}
			free := number("DISK_AVAILABLE")
			if got, want := l.use(number("CURRENT_USE"), free), number("LIMIT"); got != want {
				t.Errorf("of %d in use with %d free it keeps %d, journald says %d", number("CURRENT_USE"), free, got, want)
			}
		})
	}
}

// The prediction is held against what a private journald then does under a steady load.
func TestRiskPredictsVacuuming(t *testing.T) {
	for name, conf := range map[string][]string{
		"by size":  {"SystemMaxUse=6M", "SystemMaxFileSize=1M"},
		"by files": {"SystemMaxFiles=5", "SystemMaxFileSize=1M"},
		"by age":   {"MaxRetentionSec=6s", "SystemMaxFileSize=1M"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := testbed.StartJournald(t, conf...)
			s := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: j.Dir}}, nil).(*Source)
			stop := make(chan struct{})
			done := make(chan struct{})
			go steadily(t, j, stop, done)
			defer func() { close(stop); <-done }()
			predictions(t, j, s)
		})
	}
}

// steadily writes 400 entries a second; what a busy machine has delayed follows at once.
func steadily(t *testing.T, j *testbed.Journald, stop, done chan struct{}) {
	defer close(done)
	n := j.Native(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for i := 0; ; {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for due := int(time.Since(began) / (2500 * time.Microsecond)); i < due; i++ {
			text := strings.Repeat(fmt.Sprintf("%x.", i), 300)
			n.Send(testbed.Field{Name: "MESSAGE", Value: text[:400]})
		}
	}
}

// prediction is what was foretold for one position.
type prediction struct {
	file fileKey
	at   time.Time
	left time.Duration
}

// predictions asks for the risk of positions while they are being written over, and waits
// until their files are dropped.
func predictions(t *testing.T, j *testbed.Journald, s *Source) {
	t.Helper()
	var open []prediction
	// On a busy machine journald may stand still, or catch up, after a prediction: that makes one
	// wrong now and then, but not as many as are right.
	good, wrong := 0, 0
	deadline := time.Now().Add(3 * time.Minute)
	next := time.Now().Add(3 * time.Second)
	for good < 3 {
		if time.Now().After(deadline) {
			t.Fatalf("%d predictions came true, %d are open: %+v", good, len(open), open)
		}
		time.Sleep(20 * time.Millisecond) // a pace, not a synchronisation
		there := map[fileKey]bool{}
		paths, _ := filepath.Glob(filepath.Join(j.Dir, "*.journal"))
		for _, path := range paths {
			if st, err := os.Stat(path); err == nil {
				there[keyOf(st)] = true
			}
		}
		kept := open[:0]
		for _, p := range open {
			if there[p.file] {
				kept = append(kept, p)
				continue
			}
			took := time.Since(p.at)
			t.Logf("foretold %v, took %v", p.left.Round(10*time.Millisecond), took.Round(10*time.Millisecond))
			if p.left > 2*took+time.Second/2 || p.left < took/2-time.Second/2 {
				t.Logf("which is wrong")
				wrong++
				continue
			}
			good++
		}
		if wrong > 2 {
			t.Fatalf("%d predictions were wrong, %d came true", wrong, good)
		}
		open = kept
		if time.Now().After(next) && len(open)+good < 5 {
			next = time.Now().Add(1500 * time.Millisecond)
			open = append(open, foretell(t, s, paths, len(open))...)
		}
	}
}

// foretell asks for the risk of the entry in the middle of one of the files.
func foretell(t *testing.T, s *Source, paths []string, i int) []prediction {
	t.Helper()
	f, err := openFile(paths[i%len(paths)])
	if err != nil {
		return nil // just dropped
	}
	defer f.close()
	loc, ok := f.entryBefore(f.hdr.entries / 2)
	if !ok {
		return nil
	}
	s.surveys.found = nil
	risk, ok := s.Risk(loc.position())
	if !ok || risk.Left < 0 || risk.Bytes <= 0 {
		t.Errorf("risk %+v, %v", risk, ok)
		return nil
	}
	return []prediction{{f.key, time.Now(), risk.Left}}
}

// What lies behind the position is counted, and a journal that no journald of
// this machine keeps is dropped at a time that nobody knows.
func TestRiskCountsWhatLiesBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 3 {
		fabricate(t, dir, fmt.Sprintf("f%d.journal", i), 500, int64(i)*1_000_000, testbed.JournalLayout{Compact: true})
	}
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}}, nil)
	all := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	risk := func(pos record.Position) sources.Risk {
		r, ok := in.(sources.Risker).Risk(pos)
		if !ok || r.Left >= 0 {
			t.Fatalf("risk %+v, %v", r, ok)
		}
		return r
	}
	last := risk("").Bytes
	if last < 300_000 {
		t.Fatalf("%d bytes behind the beginning", last)
	}
	for _, i := range []int{400, 800, 1200, 1498} {
		bytes := risk(record.Position(all[i].cursor)).Bytes
		if bytes >= last || bytes <= 0 {
			t.Errorf("%d bytes behind entry %d, %d before", bytes, i, last)
		}
		last = bytes
	}
	if b := risk(record.Position(all[1499].cursor)).Bytes; b != 0 {
		t.Errorf("%d bytes behind the end", b)
	}
	if _, ok := in.(sources.Risker).Risk("nonsense"); ok {
		t.Error("a position that is none has a risk")
	}
}

func TestKeepingIsReadAsSystemdReadsIt(t *testing.T) {
	t.Parallel()
	etc, lib := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		etc + "/journald.conf":                "[Journal]\nSystemMaxUse=1G\nSystemMaxFiles=7\nMaxRetentionSec=1month\n",
		lib + "/journald.conf":                "[Journal]\nSystemMaxUse=9G\nRuntimeMaxUse=9G\n",
		lib + "/journald.conf.d/10-a.conf":    "[Journal]\nSystemMaxUse=2G\nMaxFileSec=5min 20s\n",
		etc + "/journald.conf.d/10-a.conf":    "[Journal]\nSystemMaxUse=3G\n",
		lib + "/journald.conf.d/20-b.conf":    "[Journal]\nSystemKeepFree=1.5K\n[Other]\nSystemKeepFree=7\n",
		etc + "/journald.conf.d/30-c.txt":     "[Journal]\nSystemMaxUse=4G\n",
		etc + "/journald@ns.conf":             "[Journal]\nSystemMaxUse=5G\n",
		etc + "/journald@ns.conf.d/1.conf":    "[Journal]\nMaxRetentionSec=infinity\nRuntimeMaxFiles=3\n",
		etc + "/journald@other.conf.d/1.conf": "[Journal]\nSystemMaxUse=6G\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dirs := []string{etc, lib}
	month := 2629800 * time.Second
	for want, got := range map[keeping]keeping{
		{3 << 30, 1536, -1, 7, month, -1}:          readKeeping(dirs, "", "System"),
		{-1, -1, -1, -1, month, -1}:                readKeeping(dirs, "", "Runtime"),
		{5 << 30, -1, -1, -1, forever, -1}:         readKeeping(dirs, "ns", "System"),
		{-1, -1, -1, 3, forever, -1}:               readKeeping(dirs, "ns", "Runtime"),
		{-1, -1, -1, -1, -1, -1}:                   readKeeping(dirs, "none", "System"),
		{2 << 30, 1536, -1, -1, -1, 5*60e9 + 20e9}: readKeeping([]string{lib}, "", "System"),
	} {
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// FuzzConf: whatever a journald.conf holds, what is read of it is a number or not given.
func FuzzConf(f *testing.F) {
	f.Add("[Journal]\nSystemMaxUse=1G 1M\nMaxRetentionSec=1month 2w\nMaxFileSec=infinity\n")
	f.Add("[Journal]\r\nSystemMaxUse=1e308E\nSystemKeepFree=0.0.0\nSystemMaxFiles=99999999999999999999\\\n")
	f.Fuzz(func(t *testing.T, text string) {
		k := keeping{-1, -1, -1, -1, -1, -1}
		k.parse(text, "System")
		for _, n := range []int64{k.maxUse, k.keepFree, k.maxFileSize, k.maxFiles, int64(k.retention), int64(k.maxFileTime)} {
			if n < -1 {
				t.Fatalf("%q: %+v", text, k)
			}
		}
		l := limitsOf(k, 1<<40)
		if use := l.use(1<<30, 1<<35); use < 0 || l.fileSize < 0 || l.retention < 0 {
			t.Fatalf("%q: %+v keeps %d", text, l, use)
		}
	})
}
