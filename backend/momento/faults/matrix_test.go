package faults_test

import (
	"testing"

	"github.com/topicbus/pubsub/backend/momento/faults/internal/matrix"
)

func TestMatrix(t *testing.T) {
	for _, row := range matrix.Rows(*full) {
		t.Run(row.Group+"/"+row.Name, func(t *testing.T) {
			t.Parallel()
			o := matrix.Play(row, matrix.Bus)
			for _, breach := range row.Breaches(o) {
				t.Error(breach)
			}
			t.Log(row.Text(o))
		})
	}
}
