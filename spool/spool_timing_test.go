package spool

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/lbshipd/lbshipd/record"
)

// benchBatch is what a feed makes of about 256 KiB of JSON lines, or of a journal.
func benchBatch(tb testing.TB, journal bool) (*record.Batch, int64) {
	b := record.NewBatch()
	b.Origin, b.Before, b.After = testOrigin, "8:1:77:1234567", "8:1:77:1496711"
	var h *record.Header
	for n := 0; b.ReadBytes < 256<<10; n++ {
		r := b.Add()
		r.Time, r.Level = 1_700_000_000_000_000_000+int64(n)*1000_000, record.LevelInfo
		if journal {
			r.Line = b.Copy(fmt.Appendf(nil, "Accepted publickey for admin from 10.0.0.%d port 5%04d ssh2: ED25519 SHA256:4Yzs8kq1dP", n%250, n))
			r.Message = r.Line
			if n%4 == 0 {
				h = b.NewHeader()
				h.Host, h.Identifier, h.PID, h.Unit = []byte("server01"), []byte("sshd"), b.Copy(fmt.Appendf(nil, "%d", 1000+n)), []byte("ssh.service")
			}
			r.Header, r.Facility = h, 4
		} else {
			r.Line = b.Copy(fmt.Appendf(nil, `{"time":"2026-01-02T03:04:05.%06dZ","level":"info","msg":"request handled","path":"/v2/volumes/7f3c","status":200,"took_ms":12.5,"node":"server01","id":%d}`, n, n))
			r.Message = r.Line[59:74]
			r.Offset = b.ReadBytes
			b.AddField(r, r.Line[77:81], r.Line[84:100])
			b.AddField(r, r.Line[103:109], r.Line[111:114])
		}
		b.ReadBytes += int64(len(r.Line))
		b.Read++
	}
	tb.Cleanup(b.Release)
	return b, b.ReadBytes
}

func kinds(b *testing.B, run func(*testing.B, *record.Batch, int64)) {
	for _, kind := range []string{"json", "journal"} {
		b.Run(kind, func(b *testing.B) {
			batch, raw := benchBatch(b, kind == "journal")
			b.ReportAllocs()
			run(b, batch, raw)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Records)), "ns/line")
			b.SetBytes(raw)
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	kinds(b, func(b *testing.B, batch *record.Batch, raw int64) {
		var buf []byte
		for b.Loop() {
			buf = appendPayload(buf[:0], batch, nil, 1)
		}
		lines := float64(len(batch.Records))
		b.ReportMetric(float64(len(buf))/lines, "bytes/line")
		b.ReportMetric(float64(raw)/lines, "raw-bytes/line")
	})
}

func BenchmarkDecode(b *testing.B) {
	kinds(b, func(b *testing.B, batch *record.Batch, _ int64) {
		p := appendPayload(nil, batch, nil, 1)
		var d decoder
		for b.Loop() {
			got := record.NewBatch()
			if _, err := d.decode(got, p); err != nil {
				b.Fatal(err)
			}
			got.Release()
		}
	})
}

// BenchmarkThrough appends, reads and answers, four batches at a time, with
// fsync and without.
func BenchmarkThrough(b *testing.B) {
	for name, fs := range map[string]FS{"fsync": OS{}, "no fsync": unsynced{}} {
		b.Run(name, func(b *testing.B) {
			kinds(b, func(b *testing.B, batch *record.Batch, _ int64) {
				s, err := Open(b.TempDir(), Options{MaxBytes: 1 << 30, FS: fs})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				entries := []Entry{{Batch: batch}, {Batch: batch}, {Batch: batch}, {Batch: batch}}
				for n := 0; b.Loop(); n++ {
					if n%4 != 0 {
						continue
					}
					if _, err := s.Append(entries); err != nil {
						b.Fatal(err)
					}
					for {
						got := record.NewBatch()
						g, err := s.Next(got)
						got.Release()
						if errors.Is(err, io.EOF) {
							break
						}
						if err != nil {
							b.Fatal(err)
						}
						s.Answered(g.Frame)
					}
				}
			})
		})
	}
}
