package pipeline

import (
	"maps"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// series returns the values of a metric by its labels' values.
func (h *house) series(name string) map[string]float64 {
	h.t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				key += l.GetValue() + " "
			}
			found[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return found
}

// Of a chain the certificate that expires first counts, of the authorities the one that
// expires last: the old one stays beside the new one while they are replaced.
func TestCertificatesExpire(t *testing.T) {
	h := newHouse(t)
	h.open()
	old, young := testbed.NewCA(t, "old"), testbed.NewCA(t, "young")
	leaf := old.Issue(t, testbed.CertOptions{CommonName: "leaf", Lasts: 30 * 24 * time.Hour})
	middle := old.Issue(t, testbed.CertOptions{CommonName: "middle", Starts: -2 * time.Hour, Lasts: 5 * time.Hour})
	cfg := &config.Config{TLSBundles: []config.TLSBundle{
		{Name: "siem", CAPem: old.PEM + "nonsense\n" + leaf.CertPEM + young.PEM, CertPem: leaf.CertPEM + middle.CertPEM},
		{Name: "system"},
	}}
	if err := h.sup.ApplyEvent(config.Event{Config: cfg, Hash: "one"}); err != nil {
		t.Fatal(err)
	}
	after := map[string]float64{"siem ca ": float64(leaf.Cert.NotAfter.Unix()), "siem cert ": float64(middle.Cert.NotAfter.Unix())}
	before := map[string]float64{"siem ca ": float64(leaf.Cert.NotBefore.Unix()), "siem cert ": float64(middle.Cert.NotBefore.Unix())}
	if got := h.series(specNotAfter.Name); !maps.Equal(got, after) {
		t.Errorf("they expire at %v, want %v", got, after)
	}
	if got := h.series(specNotBefore.Name); !maps.Equal(got, before) {
		t.Errorf("they begin at %v, want %v", got, before)
	}
	if got := h.series(specConfigInfo.Name); !maps.Equal(got, map[string]float64{"one ": 1}) {
		t.Errorf("the configuration is %v", got)
	}
	// What is gone leaves nothing, or a bundle a day would be a series a day.
	if err := h.sup.ApplyEvent(config.Event{Config: &config.Config{}, Hash: "two"}); err != nil {
		t.Fatal(err)
	}
	if got := h.series(specNotAfter.Name); len(got) > 0 {
		t.Errorf("of bundles that are gone there is %v", got)
	}
	if got := h.series(specConfigInfo.Name); !maps.Equal(got, map[string]float64{"two ": 1}) {
		t.Errorf("the configuration is %v", got)
	}
}

// A source that is quiet, or was never read, can be told by its last time.
func TestTheLastReadHasATime(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.tapes["quiet"] = newTape(numbered(0, 10)...), newTape()
	h.shelves["a"] = newShelf()
	h.open()
	began := float64(time.Now().Unix())
	cfg := simpleConfig("app", "a")
	cfg.Sources = append(cfg.Sources, simpleConfig("quiet", "a").Sources...)
	h.apply(cfg)
	h.awaitLines("a", 10)
	got := h.series(specLastRead.Name)
	if got["app "] < began || got["app "] > began+60 {
		t.Errorf("read at %v, and it is %v", got["app "], began)
	}
	if at, there := got["quiet "]; !there || at != 0 {
		t.Errorf("of the quiet source there is %v (%v)", at, there)
	}
	h.stop(time.Minute)
}

func TestTheDisksRoomIsShown(t *testing.T) {
	h := newHouse(t)
	h.open()
	await(t, "the room on disk", func() bool { return h.series(specDataDirFree.Name)[""] > 1<<20 })
	h.stop(time.Minute)
}
