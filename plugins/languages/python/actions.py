"""An action pack in Python with one action, which counts the instances of a service."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import act
from wit_world.imports import fleet_read, types


def service(call):
    for field in call.params:
        if field.name == "service" and isinstance(field.value, types.Value_Text):
            return field.value.value
    raise Err(types.PluginError_InvalidInput("service is missing"))


class Act(exports.Act):
    def describe(self):
        return [
            act.ActionInfo(
                name="python.count",
                summary="Count the instances of a service",
                params=[act.Param("service", act.ParamType.TEXT, True, "which")],
                outputs=["instances"],
                risk=act.Risk.NONE,
                undoable=False,
            )
        ]

    def plan(self, call):
        return [f"look at {service(call)}"]

    def run(self, call):
        count = len(fleet_read.list_instances(service(call)))
        return act.Receipt(
            changed=False,
            summary=f"{count} instances",
            outputs=[types.Field("instances", types.Value_Integer(count))],
            undo=b"",
        )

    def undo(self, action, receipt):
        pass
