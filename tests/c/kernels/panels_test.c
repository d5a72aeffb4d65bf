/* The geometry of panels, against the text of the format. */
#include "helpers/tables.h"
#include "suites.h"

void test_panels(void)
{
    check_context = "panels";
    for (uint32_t units = 1; units < 300; units++) {
        uint32_t start = 0, p = 0;
        for (; start < units; start += width_at(units, start), p++) {
            CHECK(lrt_panel_start(units, p) == start);
            CHECK(lrt_panel_width(units, p) == width_at(units, start));
        }
        CHECK(lrt_panel_count(units) == p && lrt_padded_units(units) == start);
        CHECK(lrt_full_panels(units) == units / 16 + (units % 16 > 12));
    }
    CHECK(lrt_padded_units(LRT_MAX_SIZE) == LRT_MAX_SIZE && lrt_panel_count(LRT_MAX_SIZE) == LRT_MAX_SIZE / 16);
}
