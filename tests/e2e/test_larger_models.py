"""A question each to the models of the catalogue that ./check leaves to --full."""
import openai
import pytest

import program

pytestmark = pytest.mark.large


def test_gemma3_base_continues_text_and_says_it_has_no_template():
    with program.serving("gemma3") as server:
        reply = server.request("POST", "/v1/completions", {"model": "gemma3", "prompt": "The capital of France is", "max_tokens": 8, "temperature": 0})
        assert reply.json["choices"][0]["text"] == " the capital of the country of France."  # as llama.cpp 0.3.36 continues it
        chat = server.request("POST", "/v1/chat/completions", {"model": "gemma3", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2})
        assert chat.status == 400 and chat.json["error"]["code"] == "no_chat_template"


def test_qwen_writes_code_and_calls_tools():
    tools = [{"type": "function", "function": {"name": "add", "description": "Adds two integers", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}}}]
    with program.serving("qwen1.5b") as server, openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        code = client.chat.completions.create(model="qwen1.5b", temperature=0, max_tokens=120, messages=[
            {"role": "user", "content": "Write a Python function that returns the factorial of n."}])
        assert "def " in code.choices[0].message.content
        call = client.chat.completions.create(model="qwen1.5b", temperature=0, max_tokens=80, tools=tools, tool_choice="required", messages=[
            {"role": "user", "content": "Add 2 and 40 with the tool."}])
        assert call.choices[0].message.tool_calls[0].function.name == "add"
