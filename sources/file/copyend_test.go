package file

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// What a program writes to a file that was compressed already is not in the compressed one. Who was
// given all of it before it was deleted has lost nothing; who was not sure is told once.
func TestCompressedBeforeItsLastLines(t *testing.T) {
	t.Parallel()
	for name, seen := range map[string]bool{"it was seen to be deleted": true, "it may have been written on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			lines := numbered(0, 1000)
			write(t, path, text(lines[:900]))
			data := compress(t, path, ".gz")
			write(t, path, text(lines[900:]))
			r := newRig(t, path)
			r.tune = func(*source) {} // the file is not quiet for long enough to end
			r.start()
			r.expect(lines...)
			if !seen {
				r.stop()
			}
			must(t, os.Remove(path))
			write(t, path+".1.gz", string(data))
			r.until("the position to tell that it was deleted", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				for _, pos := range r.positions {
					if p, _ := takePosition(string(pos)); p.deleted == seen {
						return true
					}
				}
				return false
			})
			r.stop()
			src := testSource(t, path, 0)
			src.deps.Known = r.deps().Known
			d := newDiscovery(src, func(in sources.Input) {
				pos := r.positions[in.Origin().Input]
				if !seen {
					onlyGap(t, in, pos) // and who was told is not told again
					return
				}
				rd, err := in.Open(pos)
				must(t, err)
				defer rd.Close()
				b := record.NewBatch()
				defer b.Release()
				if err := rd.Read(b); err != io.EOF || len(b.Records) > 0 || b.After != pos {
					t.Errorf("read %d records to %s: %v", len(b.Records), b.After, err)
				}
			})
			defer d.close()
			d.start()
			if len(d.inputs) != 1 {
				t.Errorf("%d inputs are found", len(d.inputs))
			}
		})
	}
}
