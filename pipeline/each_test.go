package pipeline

import (
	"fmt"
	"testing"
)

// What is done every second with each input makes no garbage of its own, however many there are.
func TestAllInputsAreGoneThroughWithoutGarbage(t *testing.T) {
	r := &sourceRun{inputs: map[string]*inputRun{}}
	for i := range 2000 {
		r.inputs[fmt.Sprint(i)] = new(inputRun)
	}
	seen := 0
	if n := testing.AllocsPerRun(100, func() {
		seen = 0
		r.eachRun(func(*inputRun) { seen++ })
	}); n > 0 || seen != len(r.inputs) {
		t.Errorf("%v allocations, %d of %d inputs", n, seen, len(r.inputs))
	}
}
