"""Workflows with a model in their steps: chained, routed, in parallel, with workers, judged and improved."""

import operator
from typing import Annotated, Literal

from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from core.agents.demo import DemoChatModel

llm = DemoChatModel(tokens_per_second=0)


class Chain(TypedDict):
    topic: str
    joke: str
    improved_joke: str
    final_joke: str


def tell(state: Chain) -> dict:
    return {"joke": llm.invoke(f"Tell a short joke about {state['topic']}").content}


def has_punchline(state: Chain) -> Literal["good", "weak"]:
    return "good" if "?" in state["joke"] or "!" in state["joke"] else "weak"


def improve(state: Chain) -> dict:
    return {"improved_joke": llm.invoke(f"Add wordplay to: {state['joke']}").content}


def polish(state: Chain) -> dict:
    return {"final_joke": llm.invoke(f"Add a twist to: {state['improved_joke']}").content}


chain = (
    StateGraph(Chain)
    .add_node("tell", tell)
    .add_node("improve", improve)
    .add_node("polish", polish)
    .add_edge(START, "tell")
    .add_conditional_edges("tell", has_punchline, {"weak": "improve", "good": END})
    .add_edge("improve", "polish")
    .add_edge("polish", END)
    .compile()
)


class Route(BaseModel):
    step: Literal["poem", "story", "joke"] = Field(description="What to write next")


class Routed(TypedDict):
    input: str
    decision: str
    output: str


router_llm = llm.with_structured_output(Route)


def write_story(state: Routed) -> dict:
    return {"output": llm.invoke("A story: " + state["input"]).content}


def write_joke(state: Routed) -> dict:
    return {"output": llm.invoke("A joke: " + state["input"]).content}


def write_poem(state: Routed) -> dict:
    return {"output": llm.invoke("A poem: " + state["input"]).content}


def decide(state: Routed) -> dict:
    route = router_llm.invoke([SystemMessage("Choose what to write."), HumanMessage(state["input"])])
    return {"decision": route.step}


def chosen(state: Routed) -> str:
    return f"write_{state['decision']}"


routing = (
    StateGraph(Routed)
    .add_node(write_story)
    .add_node(write_joke)
    .add_node(write_poem)
    .add_node(decide)
    .add_edge(START, "decide")
    .add_conditional_edges("decide", chosen, ["write_story", "write_joke", "write_poem"])
)


class Parallel(TypedDict):
    topic: str
    joke: str
    story: str
    poem: str
    combined_output: str


def a_joke(state: Parallel) -> dict:
    return {"joke": llm.invoke(f"A joke about {state['topic']}").content}


def a_story(state: Parallel) -> dict:
    return {"story": llm.invoke(f"A story about {state['topic']}").content}


def a_poem(state: Parallel) -> dict:
    return {"poem": llm.invoke(f"A poem about {state['topic']}").content}


def aggregate(state: Parallel) -> dict:
    return {"combined_output": "\n".join([state["story"], state["joke"], state["poem"]])}


parallel = StateGraph(Parallel)
for node in (a_joke, a_story, a_poem):
    parallel.add_node(node)
    parallel.add_edge(START, node.__name__)
    parallel.add_edge(node.__name__, "aggregate")
parallel.add_node(aggregate)


class Section(BaseModel):
    name: str = Field(description="The section's name")
    description: str = Field(description="What it is about")


class Sections(BaseModel):
    names: list[str] = Field(description="The names of the report's sections")


class Report(TypedDict):
    topic: str
    sections: list[Section]
    completed_sections: Annotated[list, operator.add]
    final_report: str


class Work(TypedDict):
    section: Section
    completed_sections: Annotated[list, operator.add]


planner = llm.with_structured_output(Sections)


def orchestrate(state: Report) -> dict:
    asked = [SystemMessage("Plan a report."), HumanMessage(f"The topic: {state['topic']}")]
    names = planner.invoke(asked).names or ["Overview", "Outlook"]
    return {"sections": [Section(name=name, description=f"{name} of {state['topic']}") for name in names]}


def write_section(state: Work) -> dict:
    section = state["section"]
    return {"completed_sections": [llm.invoke(f"Write {section.name}: {section.description}").content]}


def put_together(state: Report) -> dict:
    return {"final_report": "\n\n---\n\n".join(state["completed_sections"])}


def to_workers(state: Report) -> list[Send]:
    return [Send("write_section", {"section": section}) for section in state["sections"]]


orchestrator = (
    StateGraph(Report)
    .add_node("orchestrate", orchestrate)
    .add_node("write_section", write_section)
    .add_node("put_together", put_together)
    .add_edge(START, "orchestrate")
    .add_conditional_edges("orchestrate", to_workers, ["write_section"])
    .add_edge("write_section", "put_together")
    .add_edge("put_together", END)
    .compile()
    .with_config(tags=["report"])
)


class Feedback(BaseModel):
    grade: Literal["funny", "not funny"] = Field(description="Whether it is funny")
    feedback: str = Field(description="How to make it funnier")


class Judged(TypedDict):
    joke: str
    topic: str
    feedback: str
    funny_or_not: str


judge = llm.with_structured_output(Feedback)


def generate(state: Judged) -> dict:
    hint = f" Mind this: {state['feedback']}" if state.get("feedback") else ""
    return {"joke": llm.invoke(f"A joke about {state['topic']}.{hint}").content}


def evaluate(state: Judged) -> dict:
    grade = judge.invoke(f"Grade this joke: {state['joke']}")
    return {"funny_or_not": grade.grade, "feedback": grade.feedback}


def judged(state: Judged) -> Literal["accepted", "rejected"]:
    return "accepted" if state["funny_or_not"] == "funny" else "rejected"


evaluator = (
    StateGraph(Judged)
    .add_node("generate", generate)
    .add_node("evaluate", evaluate)
    .add_edge(START, "generate")
    .add_edge("generate", "evaluate")
    .add_conditional_edges("evaluate", judged, {"accepted": END, "rejected": "generate"})
    .compile()
)
