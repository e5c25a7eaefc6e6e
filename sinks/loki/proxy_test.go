package loki

import (
	"compress/gzip"
	"io"
	"net/http"
	"testing"

	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
)

// A proxy that answers 400 now and then, as a page or in words of its own, while
// Loki behind it takes everything: no line is lost for it.
func TestProxyThatRefusesNowAndThenLosesNothing(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"a page": "<html><body>Bad Request</body></html>",
		"words":  "no healthy upstream",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			n := 0
			f.decide(func(w http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
				// Two of three, so that halving comes down to one line; the empty
				// push that asks for Loki itself gets through.
				if n++; n%3 == 0 || len(req.Streams) == 0 {
					return true
				}
				http.Error(w, body, 400)
				return false
			})
			r := newRig(t, config.LokiTarget{URL: f.URL}, nil)
			b := batchOf(numbered("a", 64)...)
			if res := r.untilSent(t, b); res.Delivered != 64 || len(res.Refused) > 0 {
				t.Errorf("%+v", res)
			}
		})
	}
}

// A proxy in front of Loki that compresses its answers hides no refusal.
func TestCompressedRefusal(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.decide(func(w http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(400)
		packed := gzip.NewWriter(w)
		io.WriteString(packed, "2 errors like: entry for stream '{unit=\"a\"}' has timestamp too new: 2037-01-01T00:00:00Z")
		packed.Close()
		return false
	})
	r := newRig(t, config.LokiTarget{URL: f.URL}, nil)
	res := r.send(t, batchOf(numbered("a", 10)...))
	if res.Delivered != 8 || refusedOf(res, "too_new") != 2 || r.requests() != 1 {
		t.Errorf("%+v after %d requests", res, r.requests())
	}
}
