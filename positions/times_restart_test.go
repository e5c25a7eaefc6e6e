package positions

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// A daemon that is restarted again and again keeps the file of times as small
// as one that runs on: what a restart finds is no measure of what is needed.
func TestTimesDoNotGrowWithRestarts(t *testing.T) {
	dir := t.TempDir()
	clock := time.Now()
	offset := int64(0)
	for range 12 {
		s, _ := open(t, dir)
		s.times.now = func() time.Time { return clock }
		in := s.Times().Of("src", "in", func(p record.Position) (int64, bool) {
			n, err := strconv.ParseInt(string(p), 10, 64)
			return n, err == nil
		})
		for range 2 << 20 / 90 {
			clock = clock.Add(time.Second)
			in.At(0, offset, offset+100, 1)
			offset += 100
		}
		s.Settle([]Move{{Key: Key{"src", "tgt", "in"}, Position: record.Position(strconv.FormatInt(offset, 10))}})
		clock = clock.Add(2 * rewriteAgain)
		s.times.tend()
		in.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, timesName))
	if err != nil || info.Size() > 2*rewriteBytes {
		t.Errorf("the file has %d bytes, one is enough for what is needed: %v", info.Size(), err)
	}
}
