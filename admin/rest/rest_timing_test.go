package rest_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
)

// BenchmarkList lists 1,000 sources, all at once and by pages of 100.
func BenchmarkList(b *testing.B) {
	store := &memory{}
	h := as(rest.New(rest.Options{Store: store, Log: slog.New(slog.DiscardHandler)}))
	var changes []config.Change
	for i := range 1000 {
		name := fmt.Sprintf("s%04d", i)
		d, err := config.Decode(config.KindSource, "source", fmt.Appendf(nil, `{"name":%q,"journald":{"identifiers":[%q]}}`, name, name))
		if err != nil {
			b.Fatal(err)
		}
		changes = append(changes, config.Change{Kind: config.KindSource, Name: name, Draft: &d})
	}
	if _, err := store.Write(b.Context(), changes, config.WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	for _, query := range []string{"", "?limit=100"} {
		b.Run("1000 sources"+query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", rest.Prefix+"/sources"+query, nil)
				r.Header.Set(roleHeader, "viewer")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}

// BenchmarkStrictBody checks a body of about 1 MiB that is refused at its end.
func BenchmarkStrictBody(b *testing.B) {
	h := as(rest.New(rest.Options{Store: &memory{}, Log: slog.New(slog.DiscardHandler)}))
	body := `{"a":[` + strings.Repeat(`{"name":"app","journald":{}},`, 36000) + `{"x":1,"x":2}]}`
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", rest.Prefix+"/sources", strings.NewReader(body))
		r.Header.Set(roleHeader, "editor")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 400 {
			b.Fatal(w.Code, w.Body)
		}
	}
}
