package parse

import (
	"bufio"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// loghubDir returns the folder that holds Loghub's systems, or skips.
func loghubDir(t testing.TB) string {
	dir := os.Getenv("LBSHIPD_LOGHUB")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "loghub")
	}
	if _, err := os.Stat(filepath.Join(dir, "Apache.log")); err != nil {
		t.Skipf("Loghub's samples are not in %s (set LBSHIPD_LOGHUB): %v", dir, err)
	}
	return dir
}

func readLines(t testing.TB, path string) [][]byte {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines [][]byte
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		lines = append(lines, []byte(strings.TrimSuffix(sc.Text(), "\r")))
	}
	if sc.Err() != nil {
		t.Fatal(sc.Err())
	}
	return lines
}

func readCSV(t testing.TB, path string) []map[string]string {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, name := range rows[0] {
			m[name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

func TestLoghub(t *testing.T) {
	dir := loghubDir(t)
	systems := []struct {
		name  string
		level string                             // its column; "" if the system has none
		time  func(row map[string]string) string // the full date and time; nil if lines carry no year
		as    string
	}{
		{"Apache", "Level", func(r map[string]string) string { return r["Time"] }, "Mon Jan 02 15:04:05 2006"},
		{"Linux", "", nil, ""}, // its column Level holds the host
		{"OpenSSH", "", nil, ""},
		{"OpenStack", "Level", func(r map[string]string) string { return r["Date"] + " " + r["Time"] }, "2006-01-02 15:04:05"},
		{"Zookeeper", "Level", func(r map[string]string) string { return r["Date"] + " " + r["Time"] }, "2006-01-02 15:04:05"},
	}
	o := &Options{Location: time.UTC, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	var levelled, levelsRight, timed, timesRight, tooSevere int
	for _, sys := range systems {
		lines := readLines(t, filepath.Join(dir, sys.name+".log"))
		rows := readCSV(t, filepath.Join(dir, sys.name+".structured.csv"))
		if len(lines) != len(rows) || len(lines) == 0 {
			t.Fatalf("%s: %d lines but %d rows", sys.name, len(lines), len(rows))
		}
		var hasLevel, gotLevel, hasTime, gotTime, severe int
		for i, line := range lines {
			b := record.NewBatch()
			r := b.Add()
			r.Line = line
			if !(autoFormat{}).Parse(b, r, o) {
				t.Fatalf("%s line %d was refused", sys.name, i+1)
			}
			want := record.LevelUnknown
			if sys.level != "" {
				want = record.ParseLevel([]byte(strings.TrimSpace(rows[i][sys.level])))
			}
			if want != record.LevelUnknown {
				hasLevel++
				if r.Level == want {
					gotLevel++
				}
			}
			if r.Level > want {
				severe++
				t.Errorf("%s line %d is %v, but was called %v: %s", sys.name, i+1, want, r.Level, line)
			}
			if sys.time != nil {
				hasTime++
				when, err := time.Parse(sys.as, sys.time(rows[i]))
				if err != nil {
					t.Fatalf("%s row %d: %v", sys.name, i+1, err)
				}
				if r.Time == when.UnixNano() {
					gotTime++
				}
			}
			b.Release()
		}
		t.Logf("%-10s level %d of %d, time %d of %d, too severe %d of %d lines",
			sys.name, gotLevel, hasLevel, gotTime, hasTime, severe, len(lines))
		levelled, levelsRight = levelled+hasLevel, levelsRight+gotLevel
		timed, timesRight = timed+hasTime, timesRight+gotTime
		tooSevere += severe
	}
	t.Logf("all: level %d of %d, time %d of %d, too severe %d", levelsRight, levelled, timesRight, timed, tooSevere)
	if levelled == 0 || levelsRight*100 < levelled*99 {
		t.Errorf("levels: %d of %d found, want 99 %%", levelsRight, levelled)
	}
	if timed == 0 || timesRight*100 < timed*99 {
		t.Errorf("times: %d of %d found, want 99 %%", timesRight, timed)
	}
}
